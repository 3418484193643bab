package io.sparkmoe.infer;

import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;

/**
 * Intermediate results of one forward pass over M new tokens; every layer uses the same ones, since
 * nothing is kept for a backward.
 *
 * <p>Legend: M rows, D model width, Lq query bottleneck, L latent, R rotary and N other query
 * channels of a head, V value channels, H heads, E experts, K experts of a token, F FFN width.
 */
final class Workspace {

  /** (M), ids of the new tokens. */
  final Tensor tokens;

  /** (M, R/2). */
  final Tensor cos;

  /** (M, R/2). */
  final Tensor sin;

  /** (M, D), the residual stream. */
  final Tensor x;

  /** (M, D), after a norm. */
  final Tensor normed;

  /** (M). */
  final Tensor inverseRms;

  /** (M, Lq), null with a full-rank query. */
  final Tensor queryDown;

  /** (M, Lq), null with a full-rank query. */
  final Tensor queryDownNormed;

  /** (M, H, N+R), and as (M, H*(N+R)). */
  final Tensor q;

  final Tensor qRows;

  /** (M, L+R), as projected. */
  final Tensor latent;

  /** (M, L+R), as cached. */
  final Tensor entries;

  /** (M, H, L+R), queries against the entries. */
  final Tensor query;

  /** (M, H, L), mixed latents. */
  final Tensor context;

  /** (M, H, V), and as (M, H*V). */
  final Tensor headOutputs;

  final Tensor attended;

  /** Null without dense layers. */
  final Ffn dense;

  /** Null without shared experts. */
  final Ffn shared;

  /** Null without MoE layers. */
  final Routed routed;

  /** Null without MTP modules. */
  final Mtp mtp;

  /**
   * Of a gated FFN.
   *
   * @param gateUp (M, 2F)
   * @param hidden (M, F)
   */
  record Ffn(Tensor gateUp, Tensor hidden) {}

  /**
   * Of routed experts; row r of the last five belongs to one expert of one token.
   *
   * @param scores (M, E)
   * @param ids I32 (M, K)
   * @param weights (M, K)
   * @param rowTokens I32 (M*K)
   * @param rowWeights (M*K)
   * @param gateUp (M*K, 2F)
   * @param hidden (M*K, F)
   * @param output (M*K, D)
   */
  record Routed(
      Tensor scores,
      Tensor ids,
      Tensor weights,
      Tensor rowTokens,
      Tensor rowWeights,
      Tensor gateUp,
      Tensor hidden,
      Tensor output) {}

  /**
   * Of an MTP module's join.
   *
   * @param embedded (M, D)
   * @param embeddedNormed (M, D)
   * @param index I32 (M), rows of the depth below
   * @param previous those rows, (M, D)
   * @param previousNormed (M, D)
   * @param joined (M, 2D)
   */
  record Mtp(
      Tensor embedded,
      Tensor embeddedNormed,
      Tensor index,
      Tensor previous,
      Tensor previousNormed,
      Tensor joined) {}

  Workspace(ModelConfig model, int rows, Allocator allocator) {
    int d = model.hiddenSize();
    int heads = model.numAttentionHeads();
    int rope = model.qkRopeHeadDim();
    int latentWidth = model.kvLoraRank();
    tokens = allocator.allocate(DType.I32, rows);
    cos = allocator.allocate(DType.F32, rows, rope / 2);
    sin = allocator.allocate(DType.F32, rows, rope / 2);
    x = allocator.allocate(DType.F32, rows, d);
    normed = allocator.allocate(DType.F32, rows, d);
    inverseRms = allocator.allocate(DType.F32, rows);
    boolean bottleneck = model.qLoraRank() > 0;
    queryDown = bottleneck ? allocator.allocate(DType.F32, rows, model.qLoraRank()) : null;
    queryDownNormed = bottleneck ? allocator.allocate(DType.F32, rows, model.qLoraRank()) : null;
    q = allocator.allocate(DType.F32, rows, heads, model.qkHeadDim());
    qRows = q.reshape(rows, heads * model.qkHeadDim());
    latent = allocator.allocate(DType.F32, rows, latentWidth + rope);
    entries = allocator.allocate(DType.F32, rows, latentWidth + rope);
    query = allocator.allocate(DType.F32, rows, heads, latentWidth + rope);
    context = allocator.allocate(DType.F32, rows, heads, latentWidth);
    headOutputs = allocator.allocate(DType.F32, rows, heads, model.vHeadDim());
    attended = headOutputs.reshape(rows, heads * model.vHeadDim());
    dense = model.firstKDenseReplace() == 0 ? null : ffn(rows, model.intermediateSize(), allocator);
    boolean moe = model.numMoeLayers() > 0;
    shared =
        !moe || model.numSharedExperts() == 0
            ? null
            : ffn(rows, model.numSharedExperts() * model.moeIntermediateSize(), allocator);
    routed = moe ? routed(model, rows, allocator) : null;
    mtp = model.numMtpModules() == 0 ? null : mtp(rows, d, allocator);
  }

  private static Ffn ffn(int rows, int width, Allocator allocator) {
    return new Ffn(
        allocator.allocate(DType.F32, rows, 2 * width), allocator.allocate(DType.F32, rows, width));
  }

  private static Routed routed(ModelConfig model, int rows, Allocator allocator) {
    int topK = model.numExpertsPerTok();
    int f = model.moeIntermediateSize();
    return new Routed(
        allocator.allocate(DType.F32, rows, model.numRoutedExperts()),
        allocator.allocate(DType.I32, rows, topK),
        allocator.allocate(DType.F32, rows, topK),
        allocator.allocate(DType.I32, rows * topK),
        allocator.allocate(DType.F32, rows * topK),
        allocator.allocate(DType.F32, rows * topK, 2 * f),
        allocator.allocate(DType.F32, rows * topK, f),
        allocator.allocate(DType.F32, rows * topK, model.hiddenSize()));
  }

  private static Mtp mtp(int rows, int d, Allocator allocator) {
    return new Mtp(
        allocator.allocate(DType.F32, rows, d),
        allocator.allocate(DType.F32, rows, d),
        allocator.allocate(DType.I32, rows),
        allocator.allocate(DType.F32, rows, d),
        allocator.allocate(DType.F32, rows, d),
        allocator.allocate(DType.F32, rows, 2 * d));
  }
}
