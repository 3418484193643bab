package io.sparkmoe.model;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.Linear;
import io.sparkmoe.kernel.RmsNorm;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * Multi-head latent attention (DeepSeek-V2 [1], section 2.1): keys and values of all heads are
 * expanded from one narrow vector per token, position enters through a few rotary channels beside
 * them, and queries may pass a bottleneck too.
 *
 * <p>Legend: T tokens, B sequences, S positions, D model width, H heads, N query/key channels
 * without position, R with rotary position, V value channels (of a head), Lq width of the query
 * bottleneck, L width of the key/value vector.
 *
 * <p>[1] DeepSeek-AI, DeepSeek-V2: A Strong, Economical, and Efficient Mixture-of-Experts Language
 * Model, 2024.
 */
final class LatentAttention {

  private final Kernels kernels;
  private final int heads;
  private final int nopeDim;
  private final int ropeDim;
  private final int valueDim;
  private final double softmaxScale;

  /** q_a_proj (Lq, D), null with a full-rank query. */
  private final Linear queryDown;

  /** Null with a full-rank query. */
  private final RmsNorm queryNorm;

  /** q_b_proj (H*(N+R), Lq), or q_proj (H*(N+R), D) with a full-rank query. */
  private final Linear query;

  /** Rows of kv_a_proj_with_mqa that make the compressed vector, (L, D). */
  private final Linear latent;

  /** Its rows that make the shared rotary key, (R, D). */
  private final Linear ropeKey;

  private final RmsNorm latentNorm;

  /** kv_b_proj (H*(N+V), L). */
  private final Linear keyValue;

  /** o_proj (D, H*V). */
  private final Linear output;

  /**
   * What the backward needs.
   *
   * @param x input, (T, D)
   * @param queryLatent of the norm of the query bottleneck, (T, Lq); null with a full-rank query
   * @param latent of the norm of the compressed key/value vector, (T, L)
   * @param query (B, H, S, N+R)
   * @param key (B, H, S, N+R)
   * @param value (B, H, S, V)
   * @param out heads' outputs, (T, H*V)
   * @param logSumExp of each query's scores, (B, H, S)
   */
  record Saved(
      Tensor x,
      RmsNorm.Saved queryLatent,
      RmsNorm.Saved latent,
      Tensor query,
      Tensor key,
      Tensor value,
      Tensor out,
      Tensor logSumExp) {}

  /**
   * @param prefix of the weights' names, such as "model.layers.0.self_attn."
   */
  LatentAttention(String prefix, Parameters parameters, double softmaxScale, Kernels kernels) {
    ModelConfig config = parameters.config();
    this.kernels = kernels;
    this.heads = config.numAttentionHeads();
    this.nopeDim = config.qkNopeHeadDim();
    this.ropeDim = config.qkRopeHeadDim();
    this.valueDim = config.vHeadDim();
    this.softmaxScale = softmaxScale;
    boolean bottleneck = config.qLoraRank() > 0;
    this.queryDown =
        bottleneck ? new Linear(kernels, parameters.weight(prefix + "q_a_proj.weight")) : null;
    this.queryNorm = bottleneck ? norm(prefix + "q_a_layernorm.weight", parameters, kernels) : null;
    this.query =
        new Linear(
            kernels,
            parameters.weight(prefix + (bottleneck ? "q_b_proj.weight" : "q_proj.weight")));
    this.latent = new Linear(kernels, parameters.weight(prefix + "kv_a_proj"));
    this.ropeKey = new Linear(kernels, parameters.weight(prefix + "k_rope_proj"));
    this.latentNorm = norm(prefix + "kv_a_layernorm.weight", parameters, kernels);
    this.keyValue = new Linear(kernels, parameters.weight(prefix + "kv_b_proj.weight"));
    this.output = new Linear(kernels, parameters.weight(prefix + "o_proj.weight"));
  }

  private static RmsNorm norm(String name, Parameters parameters, Kernels kernels) {
    return new RmsNorm(kernels, parameters.weight(name), parameters.config().rmsNormEps());
  }

  /** Adds the attention's output for x (T, D) to y (T, D). */
  Saved forward(Tensor y, Tensor x, Sequences sequences, Scope scope) {
    DType type = x.type();
    int numTokens = x.rows();
    int b = sequences.count();
    int s = sequences.length();
    Tensor queries = scope.allocate(type, b, heads, s, nopeDim + ropeDim);
    Tensor keys = scope.allocate(type, b, heads, s, nopeDim + ropeDim);
    Tensor values = scope.allocate(type, b, heads, s, valueDim);
    Tensor out = scope.allocate(type, numTokens, heads * valueDim);
    Tensor logSumExp = scope.allocate(type, b, heads, s);
    RmsNorm.Saved queryLatent =
        queryDown == null ? null : bottleneck(queryDown, queryNorm, x, scope);
    RmsNorm.Saved keyValueLatent = bottleneck(latent, latentNorm, x, scope);
    try (Scope scratch = scope.inner()) {
      Tensor q = scratch.allocate(type, numTokens, query.outputWidth());
      query.forward(q, queryLatent == null ? x : queryLatent.y());
      kernels.assembleQuery(queries, q, sequences.cos(), sequences.sin());
    }
    try (Scope scratch = scope.inner()) {
      Tensor kv = scratch.allocate(type, numTokens, keyValue.outputWidth());
      Tensor keyRope = scratch.allocate(type, numTokens, ropeDim);
      keyValue.forward(kv, keyValueLatent.y());
      ropeKey.forward(keyRope, x);
      kernels.assembleKeyValue(keys, values, kv, keyRope, sequences.cos(), sequences.sin());
    }
    kernels.attention(out, logSumExp, queries, keys, values, softmaxScale);
    output.forwardAdd(y, out);
    return new Saved(x, queryLatent, keyValueLatent, queries, keys, values, out, logSumExp);
  }

  /** Backward of {@link #forward}: adds to dx (T, D) and to the weight gradients; dy (T, D). */
  void backward(Tensor dx, Tensor dy, Saved saved, Sequences sequences, Scope scope) {
    DType type = dy.type();
    int numTokens = dy.rows();
    try (Scope scratch = scope.inner()) {
      Tensor dQueries = scratch.allocate(type, saved.query.shape());
      Tensor dKeys = scratch.allocate(type, saved.key.shape());
      Tensor dValues = scratch.allocate(type, saved.value.shape());
      try (Scope inner = scratch.inner()) {
        Tensor dOut = inner.allocate(type, saved.out.shape());
        output.backward(dOut, dy, saved.out);
        kernels.attentionBackward(
            dQueries,
            dKeys,
            dValues,
            dOut,
            saved.out,
            saved.logSumExp,
            saved.query,
            saved.key,
            saved.value,
            softmaxScale);
      }
      try (Scope inner = scratch.inner()) {
        Tensor dkv = inner.allocate(type, numTokens, keyValue.outputWidth());
        Tensor dKeyRope = inner.allocate(type, numTokens, ropeDim);
        kernels.assembleKeyValueBackward(
            dkv, dKeyRope, dKeys, dValues, sequences.cos(), sequences.sin());
        ropeKey.backwardAdd(dx, dKeyRope, saved.x);
        Tensor dNormed = inner.allocate(type, saved.latent.y().shape());
        keyValue.backward(dNormed, dkv, saved.latent.y());
        bottleneckBackward(dx, dNormed, latent, latentNorm, saved.x, saved.latent, inner);
      }
      try (Scope inner = scratch.inner()) {
        Tensor dq = inner.allocate(type, numTokens, query.outputWidth());
        kernels.assembleQueryBackward(dq, dQueries, sequences.cos(), sequences.sin());
        if (queryDown == null) {
          query.backwardAdd(dx, dq, saved.x);
        } else {
          Tensor dNormed = inner.allocate(type, saved.queryLatent.y().shape());
          query.backward(dNormed, dq, saved.queryLatent.y());
          bottleneckBackward(dx, dNormed, queryDown, queryNorm, saved.x, saved.queryLatent, inner);
        }
      }
    }
  }

  /** {@code norm(x down^T)}. */
  private static RmsNorm.Saved bottleneck(Linear down, RmsNorm norm, Tensor x, Scope scope) {
    Tensor narrow = scope.allocate(x.type(), x.rows(), down.outputWidth());
    down.forward(narrow, x);
    return norm.forward(narrow, scope);
  }

  /** Backward of {@link #bottleneck}: adds to dx and to the gradients of norm and projection. */
  private static void bottleneckBackward(
      Tensor dx,
      Tensor dNormed,
      Linear down,
      RmsNorm norm,
      Tensor x,
      RmsNorm.Saved saved,
      Scope scratch) {
    Tensor dNarrow = scratch.zeros(dNormed.type(), dNormed.shape());
    norm.backward(dNarrow, dNormed, saved);
    down.backwardAdd(dx, dNarrow, x);
  }
}
