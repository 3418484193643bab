package io.sparkmoe.infer;

import static io.sparkmoe.model.ModelConfig.LATENT_NORM_EPS;

import io.sparkmoe.infer.WeightLoader.KeyValueUp;
import io.sparkmoe.infer.WeightLoader.Rows;
import io.sparkmoe.kernel.DecodeKernels;
import io.sparkmoe.kernel.DecodeKernels.CachedRows;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.PanelMatrix;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.util.List;

/**
 * Multi-head latent attention over a {@link LatentCache}, in absorbed form: queries are taken to
 * the latents' space instead of expanding keys and values from the latents of every past token. The
 * same results as {@code model.LatentAttention}'s up to rounding.
 *
 * <p>Legend: M rows, D model width, H heads, L width of the latent, R rotary channels.
 */
final class CachedAttention {

  private final int layer;
  private final double softmaxScale;
  private final Kernels kernels;
  private final DecodeKernels decode;

  /** q_a_proj, null with a full-rank query. */
  private final PanelMatrix queryDown;

  /** Null with a full-rank query. */
  private final Tensor queryNorm;

  /** q_b_proj, or q_proj with a full-rank query. */
  private final PanelMatrix query;

  /** kv_a_proj_with_mqa, (L+R, D). */
  private final PanelMatrix latent;

  private final Tensor latentNorm;
  private final KeyValueUp up;

  /** o_proj. */
  private final PanelMatrix output;

  /**
   * @param prefix of the weights' names, such as "model.layers.0.self_attn."
   */
  CachedAttention(
      int layer,
      String prefix,
      ModelConfig model,
      double softmaxScale,
      WeightLoader loader,
      Kernels kernels,
      DecodeKernels decode)
      throws IOException {
    int d = model.hiddenSize();
    int heads = model.numAttentionHeads();
    int rank = model.qLoraRank();
    int latentWidth = model.kvLoraRank();
    int queryWidth = heads * model.qkHeadDim();
    this.layer = layer;
    this.softmaxScale = softmaxScale;
    this.kernels = kernels;
    this.decode = decode;
    this.queryDown =
        rank == 0 ? null : loader.matrix(d, new Rows(prefix + "q_a_proj.weight", rank));
    this.queryNorm = rank == 0 ? null : loader.plain(prefix + "q_a_layernorm.weight", rank);
    this.query =
        rank == 0
            ? loader.matrix(d, new Rows(prefix + "q_proj.weight", queryWidth))
            : loader.matrix(rank, new Rows(prefix + "q_b_proj.weight", queryWidth));
    this.latent =
        loader.matrix(
            d, new Rows(prefix + "kv_a_proj_with_mqa.weight", latentWidth + model.qkRopeHeadDim()));
    this.latentNorm = loader.plain(prefix + "kv_a_layernorm.weight", latentWidth);
    this.up = loader.keyValueUp(prefix + "kv_b_proj.weight", model);
    this.output = loader.matrix(heads * model.vHeadDim(), new Rows(prefix + "o_proj.weight", d));
  }

  /**
   * Adds the attention's output for {@code w.normed} to {@code w.x}; the new tokens' entries go to
   * the caches, whose lengths count them already.
   */
  void forward(Workspace w, List<Append> appends) {
    if (queryDown == null) {
      decode.linear(w.qRows, w.normed, query, false);
    } else {
      decode.linear(w.queryDown, w.normed, queryDown, false);
      kernels.rmsNorm(w.queryDownNormed, w.inverseRms, w.queryDown, queryNorm, LATENT_NORM_EPS);
      decode.linear(w.qRows, w.queryDownNormed, query, false);
    }
    decode.linear(w.latent, w.normed, latent, false);
    decode.latentEntries(w.entries, w.latent, latentNorm, LATENT_NORM_EPS, w.cos, w.sin);
    CachedRows[] views = store(w.entries, appends);
    decode.perHead(w.query, w.q, up.keyUp());
    decode.rotateTail(w.query, w.q, w.cos, w.sin);
    decode.latentAttention(w.context, w.query, views, softmaxScale);
    decode.perHead(w.headOutputs, w.context, up.valueUp());
    decode.linear(w.x, w.attended, output, true);
  }

  private CachedRows[] store(Tensor entries, List<Append> appends) {
    CachedRows[] views = new CachedRows[appends.size()];
    int row = 0;
    for (int s = 0; s < views.length; s++) {
      int rows = appends.get(s).tokens().length;
      views[s] = appends.get(s).cache().view(layer, rows);
      appends.get(s).cache().store(layer, views[s].length() - rows, entries, row, rows);
      row += rows;
    }
    return views;
  }
}
