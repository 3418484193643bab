package io.sparkmoe.model;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.RmsNorm;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.layer.Layers;
import io.sparkmoe.layer.Projection;
import io.sparkmoe.layer.ProjectionInput;
import io.sparkmoe.moe.Gate;
import io.sparkmoe.moe.TokenDispatcher;
import io.sparkmoe.parallel.PhaseClock;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * Multi-token prediction module of depth k (DeepSeek-V3 technical report, section 2.2): at position
 * i it joins the hidden state of depth k - 1 with the embedding of token i + k, runs one MoE layer
 * and predicts token i + k + 1 with the main model's head: {@code h = layer(eh_proj
 * [enorm(embedding) | hnorm(previous)])}. The order of the join is that of the released weights,
 * which is not the report's.
 *
 * <p>Legend: B sequences, S positions of the main model, T = B*(S-k) positions here, D model width.
 */
final class MtpModule {

  private final int depth;
  private final Layers layers;
  private final Kernels kernels;
  private final Weight embedding;
  private final RmsNorm embeddingNorm;
  private final RmsNorm hiddenNorm;
  private final Projection join;
  private final DecoderLayer layer;
  private final RmsNorm headNorm;

  /**
   * What the backward needs.
   *
   * @param tokens I32 (T), ids that were embedded
   * @param rows I32 (T), rows of the previous depth that were joined
   * @param embedded of the embeddings' norm
   * @param previous of the previous hidden states' norm
   * @param joined [embedding | hidden], input of eh_proj, (T, 2D)
   * @param layer of the decoder layer
   * @param head of the norm before the head; its input is this depth's hidden state
   */
  record Saved(
      Tensor tokens,
      Tensor rows,
      RmsNorm.Saved embedded,
      RmsNorm.Saved previous,
      ProjectionInput joined,
      DecoderLayer.Saved layer,
      RmsNorm.Saved head) {}

  /**
   * @param depth k, from 1
   * @param embedding the main model's, (C, D)
   */
  MtpModule(
      int depth,
      Parameters parameters,
      Weight embedding,
      double softmaxScale,
      Gate gate,
      TokenDispatcher dispatcher,
      Layers layers,
      PhaseClock clock) {
    ModelConfig config = parameters.config();
    int layerNumber = config.numHiddenLayers() + depth - 1;
    String prefix = Parameters.layerPrefix(layerNumber);
    double eps = config.rmsNormEps();
    this.depth = depth;
    this.layers = layers;
    this.kernels = layers.kernels();
    this.embedding = embedding;
    this.embeddingNorm = new RmsNorm(kernels, parameters.weight(prefix + "enorm.weight"), eps);
    this.hiddenNorm = new RmsNorm(kernels, parameters.weight(prefix + "hnorm.weight"), eps);
    this.join = layers.projection(parameters.weight(prefix + "eh_proj.weight"));
    this.layer =
        new DecoderLayer(layerNumber, parameters, softmaxScale, gate, dispatcher, layers, clock);
    this.headNorm =
        new RmsNorm(kernels, parameters.weight(prefix + "shared_head.norm.weight"), eps);
  }

  /** Decoder layer number. */
  int layer() {
    return layer.layer();
  }

  /**
   * @param previous hidden states of depth k - 1, (B*(S-k+1), D)
   * @param inputs I32 (B, S), the main model's tokens
   * @param sequences the S - k positions of this depth
   * @param scope owns what is saved
   */
  Saved forward(Tensor previous, Tensor inputs, Sequences sequences, Pass pass, Scope scope) {
    int numTokens = sequences.numTokens();
    int width = previous.cols();
    DType type = previous.type();
    Tensor tokens = positionsOf(inputs, inputs.dim(1), depth, sequences, scope);
    Tensor rows = rowNumbers(sequences, scope);
    Tensor embedded = scope.allocate(type, numTokens, width);
    Tensor kept = scope.allocate(type, numTokens, width);
    Tensor x = scope.allocate(type, numTokens, width);
    Tensor hidden = scope.allocate(type, numTokens, width);
    kernels.gatherRows(embedded, embedding.value(), tokens);
    kernels.gatherRows(kept, previous, rows);
    RmsNorm.Saved embeddedNormed;
    RmsNorm.Saved keptNormed;
    ProjectionInput joinInput;
    try (Scope scratch = scope.inner()) {
      embeddedNormed = embeddingNorm.forward(embedded, scope, scratch);
      keptNormed = hiddenNorm.forward(kept, scope, scratch);
      Tensor joined = layers.inputAllocator(scope, scratch).allocate(type, numTokens, 2 * width);
      kernels.concatColumns(joined, embeddedNormed.y(), keptNormed.y());
      joinInput = layers.input(joined, scope, scratch);
      join.forward(x, joinInput);
    }
    DecoderLayer.Saved layerSaved = layer.forward(hidden, x, sequences, pass, null, scope);
    RmsNorm.Saved head = headNorm.forward(hidden, scope);
    return new Saved(tokens, rows, embeddedNormed, keptNormed, joinInput, layerSaved, head);
  }

  /**
   * Backward of {@link #forward}: adds to dPrevious and to the weight gradients.
   *
   * @param dPrevious gradient of previous, (B*(S-k+1), D)
   * @param dHidden gradient of the hidden state from the next depth, (T, D); overwritten
   * @param dNormed gradient of the head's input, (T, D)
   * @param balanceGradientScale factor of a sequence's balance loss in the total loss
   */
  void backward(
      Tensor dPrevious,
      Tensor dHidden,
      Tensor dNormed,
      Saved saved,
      Sequences sequences,
      double balanceGradientScale,
      Scope scope) {
    try (Scope scratch = scope.inner()) {
      headNorm.backward(dHidden, dNormed, saved.head);
      layer.backward(dHidden, saved.layer, sequences, balanceGradientScale, scratch);
      // forward: x = eh_proj [enorm(e) | hnorm(h)]
      Tensor dJoined = scratch.allocate(dHidden.type(), dHidden.rows(), join.inputWidth());
      join.backward(dJoined, dHidden, saved.joined.forGradient(scratch), scratch);
      Tensor dEmbeddedNormed = scratch.zeros(dHidden.type(), dHidden.shape());
      Tensor dKeptNormed = scratch.zeros(dHidden.type(), dHidden.shape());
      kernels.splitColumnsAdd(dEmbeddedNormed, dKeptNormed, dJoined);
      Tensor dRows = dHidden;
      dRows.zero();
      embeddingNorm.backward(dRows, dEmbeddedNormed, saved.embedded);
      kernels.scatterAddRows(embedding.gradient(), dRows, saved.tokens);
      dRows.zero();
      hiddenNorm.backward(dRows, dKeptNormed, saved.previous);
      kernels.scatterAddRows(dPrevious, dRows, saved.rows);
    }
  }

  /** Tokens {@code depth} positions after each position of this depth. */
  private static Tensor positionsOf(
      Tensor inputs, int inputLength, int shift, Sequences sequences, Scope scope) {
    Tensor tokens = scope.allocate(DType.I32, sequences.numTokens());
    int next = 0;
    for (int b = 0; b < sequences.count(); b++) {
      for (int i = 0; i < sequences.length(); i++) {
        tokens.setInt(next++, inputs.getInt(b * inputLength + i + shift));
      }
    }
    return tokens;
  }

  /** Rows of the previous depth, which has one position more, that this depth continues. */
  private static Tensor rowNumbers(Sequences sequences, Scope scope) {
    Tensor rows = scope.allocate(DType.I32, sequences.numTokens());
    int next = 0;
    for (int b = 0; b < sequences.count(); b++) {
      for (int i = 0; i < sequences.length(); i++) {
        rows.setInt(next++, b * (sequences.length() + 1) + i);
      }
    }
    return rows;
  }
}
