package io.sparkmoe.model;

import io.sparkmoe.kernel.RmsNorm;
import io.sparkmoe.layer.Experts;
import io.sparkmoe.layer.FeedForward;
import io.sparkmoe.layer.Layers;
import io.sparkmoe.moe.Gate;
import io.sparkmoe.moe.MixtureOfExperts;
import io.sparkmoe.moe.Routing;
import io.sparkmoe.moe.TokenDispatcher;
import io.sparkmoe.parallel.PhaseClock;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * One pre-norm transformer layer: {@code m = x + attention(norm(x)); y = m + ffn(norm(m))}, the FFN
 * being dense or a mixture of experts.
 *
 * <p>Legend: T tokens, D model width.
 */
final class DecoderLayer {

  private final int layer;
  private final Layers layers;
  private final RmsNorm inputNorm;
  private final RmsNorm postAttentionNorm;
  private final LatentAttention attention;

  /** Null in a MoE layer. */
  private final FeedForward dense;

  /** Null in a dense layer. */
  private final MixtureOfExperts experts;

  /**
   * What the backward needs.
   *
   * @param input of the norm before the attention
   * @param attention of the attention
   * @param middle of the norm after the attention
   * @param dense of the dense FFN, null in a MoE layer
   * @param experts of the mixture of experts, null in a dense layer
   */
  record Saved(
      RmsNorm.Saved input,
      LatentAttention.Saved attention,
      RmsNorm.Saved middle,
      FeedForward.Saved dense,
      MixtureOfExperts.Saved experts) {

    double balanceLoss() {
      return experts == null ? 0 : experts.routing().balanceLoss();
    }

    long droppedTokens() {
      return experts == null ? 0 : experts.dispatched().droppedTokens();
    }
  }

  DecoderLayer(
      int layer,
      Parameters parameters,
      double softmaxScale,
      Gate gate,
      TokenDispatcher dispatcher,
      Layers layers,
      PhaseClock clock) {
    ModelConfig config = parameters.config();
    String prefix = Parameters.layerPrefix(layer);
    this.layer = layer;
    this.layers = layers;
    double eps = config.rmsNormEps();
    this.inputNorm =
        new RmsNorm(layers.kernels(), parameters.weight(prefix + "input_layernorm.weight"), eps);
    this.postAttentionNorm =
        new RmsNorm(
            layers.kernels(), parameters.weight(prefix + "post_attention_layernorm.weight"), eps);
    this.attention = new LatentAttention(prefix + "self_attn.", parameters, softmaxScale, layers);
    if (config.isMoe(layer)) {
      Experts routed =
          layers.experts(
              parameters.weight(prefix + "mlp.experts.gate_up_proj"),
              parameters.weight(prefix + "mlp.experts.down_proj"));
      FeedForward shared =
          config.numSharedExperts() == 0
              ? null
              : feedForward(prefix + "mlp.shared_experts", parameters, layers);
      this.dense = null;
      this.experts = new MixtureOfExperts(gate, dispatcher, layers, routed, shared, clock);
    } else {
      this.dense = feedForward(prefix + "mlp", parameters, layers);
      this.experts = null;
    }
  }

  private static FeedForward feedForward(String prefix, Parameters parameters, Layers layers) {
    return layers.feedForward(
        parameters.weight(prefix + ".gate_up_proj"),
        parameters.weight(prefix + ".down_proj.weight"));
  }

  int layer() {
    return layer;
  }

  /**
   * @param y output, (T, D), written
   * @param x input, (T, D); must stay unchanged until the backward
   * @param known the gate's answer where it is not to be asked, else null
   * @param scope owns what is saved
   */
  Saved forward(Tensor y, Tensor x, Sequences sequences, Pass pass, Routing known, Scope scope) {
    Tensor middle = scope.allocate(x.type(), x.shape());
    middle.copyFrom(x);
    RmsNorm.Saved input;
    LatentAttention.Saved attended;
    try (Scope scratch = scope.inner()) {
      input = inputNorm.forward(x, scope, layers.inputAllocator(scope, scratch));
      attended =
          attention.forward(middle, layers.input(input.y(), scope, scratch), sequences, scope);
    }
    try (Scope scratch = scope.inner()) {
      RmsNorm.Saved middleNormed =
          postAttentionNorm.forward(middle, scope, layers.inputAllocator(scope, scratch));
      y.copyFrom(middle);
      if (dense != null) {
        FeedForward.Saved ffn =
            dense.forward(y, layers.input(middleNormed.y(), scope, scratch), scope);
        return new Saved(input, attended, middleNormed, ffn, null);
      }
      MixtureOfExperts.Saved ffn =
          experts.forward(
              pass.site(layer), y, middleNormed.y(), sequences.valid(), known, scope, scratch);
      return new Saved(input, attended, middleNormed, null, ffn);
    }
  }

  /**
   * Backward of {@link #forward}.
   *
   * @param d gradient of y on entry, of x on return, (T, D)
   * @param balanceGradientScale factor of a sequence's balance loss in the total loss
   */
  void backward(
      Tensor d, Saved saved, Sequences sequences, double balanceGradientScale, Scope scope) {
    try (Scope scratch = scope.inner()) {
      // forward: y = m + ffn(norm(m)); so dm = dy + what comes through the norm
      Tensor dNormed = scratch.zeros(d.type(), d.shape());
      if (dense != null) {
        dense.backward(dNormed, d, saved.dense, scratch);
      } else {
        experts.backward(dNormed, d, saved.experts, balanceGradientScale, scratch);
      }
      postAttentionNorm.backward(d, dNormed, saved.middle);
      // forward: m = x + attention(norm(x))
      dNormed.zero();
      attention.backward(dNormed, d, saved.attention, sequences, scratch);
      inputNorm.backward(d, dNormed, saved.input);
    }
  }
}
