package io.sparkmoe.model;

/**
 * Floating-point operations that training a model needs, whatever the implementation spends: two
 * per multiply-add of every matrix product, the backward twice the forward. Causal attention counts
 * the lower triangle alone, and the gate its forward alone: without a balance loss its backward
 * needs no more than the rows of the chosen experts. Element-wise work, the optimizer and
 * recomputation count nothing.
 */
public final class ModelFlops {

  private static final double PER_MULTIPLY_ADD = 2;
  private static final double FORWARD_AND_BACKWARD = 3;

  private ModelFlops() {}

  /**
   * Operations of one optimizer step, forward and backward.
   *
   * @param sequences sequences of the step
   * @param seqLen tokens of a sequence
   * @param withMtp whether the MTP modules are trained
   */
  public static double ofStep(ModelConfig model, int sequences, int seqLen, boolean withMtp) {
    double tokens = (double) sequences * seqLen;
    double multiplyAdds = tokens * head(model);
    double gates = 0;
    for (int layer = 0; layer < model.numHiddenLayers(); layer++) {
      multiplyAdds += tokens * layer(model, layer, seqLen);
      gates += tokens * gate(model, layer);
    }
    for (int module = 1; withMtp && module <= model.numMtpModules(); module++) {
      int length = seqLen - module;
      double joint = 2.0 * model.hiddenSize() * model.hiddenSize();
      int layer = model.numHiddenLayers() + module - 1;
      multiplyAdds +=
          (double) sequences * length * (joint + layer(model, layer, length) + head(model));
      gates += (double) sequences * length * gate(model, layer);
    }
    return PER_MULTIPLY_ADD * (FORWARD_AND_BACKWARD * multiplyAdds + gates);
  }

  private static double head(ModelConfig model) {
    return (double) model.vocabSize() * model.hiddenSize();
  }

  /** Multiply-adds of one token in a layer's gate, forward. */
  private static double gate(ModelConfig model, int layer) {
    return model.isMoe(layer) ? (double) model.hiddenSize() * model.numRoutedExperts() : 0;
  }

  /** Multiply-adds of one token in a layer without its gate, forward. */
  private static double layer(ModelConfig model, int layer, int length) {
    double d = model.hiddenSize();
    double heads = model.numAttentionHeads();
    double queryWidth = heads * model.qkHeadDim();
    double query = model.qLoraRank() > 0 ? model.qLoraRank() * (d + queryWidth) : d * queryWidth;
    double latent = d * (model.kvLoraRank() + model.qkRopeHeadDim());
    double keyValue = model.kvLoraRank() * heads * (model.qkNopeHeadDim() + model.vHeadDim());
    double output = heads * model.vHeadDim() * d;
    double meanKeys = (length + 1) / 2.0;
    double attention = heads * meanKeys * (model.qkHeadDim() + model.vHeadDim());
    double ffn = 3 * d * model.intermediateSize();
    if (model.isMoe(layer)) {
      double experts = model.numExpertsPerTok() + model.numSharedExperts();
      ffn = 3 * d * model.moeIntermediateSize() * experts;
    }
    return query + latent + keyValue + output + attention + ffn;
  }
}
