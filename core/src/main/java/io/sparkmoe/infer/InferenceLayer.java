package io.sparkmoe.infer;

import io.sparkmoe.kernel.DecodeKernels;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.util.List;

/**
 * One pre-norm transformer layer without a backward: {@code m = x + attention(norm(x)); m +
 * ffn(norm(m))}.
 */
final class InferenceLayer {

  private final double eps;
  private final Kernels kernels;
  private final Tensor inputNorm;
  private final Tensor postAttentionNorm;
  private final CachedAttention attention;

  /** Null in a MoE layer. */
  private final GatedFfn dense;

  /** Null in a dense layer, and without shared experts. */
  private final GatedFfn shared;

  /** Null in a dense layer. */
  private final RoutedExperts experts;

  InferenceLayer(
      int layer,
      ModelConfig model,
      double softmaxScale,
      WeightLoader loader,
      Kernels kernels,
      DecodeKernels decode)
      throws IOException {
    String prefix = Parameters.layerPrefix(layer);
    int d = model.hiddenSize();
    this.eps = model.rmsNormEps();
    this.kernels = kernels;
    this.inputNorm = loader.plain(prefix + "input_layernorm.weight", d);
    this.postAttentionNorm = loader.plain(prefix + "post_attention_layernorm.weight", d);
    this.attention =
        new CachedAttention(
            layer, prefix + "self_attn.", model, softmaxScale, loader, kernels, decode);
    boolean moe = model.isMoe(layer);
    this.dense =
        moe
            ? null
            : new GatedFfn(prefix + "mlp", d, model.intermediateSize(), loader, kernels, decode);
    this.shared =
        !moe || model.numSharedExperts() == 0
            ? null
            : new GatedFfn(
                prefix + "mlp.shared_experts",
                d,
                model.numSharedExperts() * model.moeIntermediateSize(),
                loader,
                kernels,
                decode);
    this.experts = moe ? new RoutedExperts(layer, model, loader, kernels, decode) : null;
  }

  /** Replaces {@code w.x} by the layer's output; returns the bytes of the experts read. */
  long forward(Workspace w, List<Append> appends) {
    kernels.rmsNorm(w.normed, w.inverseRms, w.x, inputNorm, eps);
    attention.forward(w, appends);
    kernels.rmsNorm(w.normed, w.inverseRms, w.x, postAttentionNorm, eps);
    if (dense != null) {
      dense.forward(w, w.dense);
      return 0;
    }
    if (shared != null) {
      shared.forward(w, w.shared);
    }
    return experts.forward(w, w.routed);
  }
}
