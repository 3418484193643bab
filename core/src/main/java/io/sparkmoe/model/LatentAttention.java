package io.sparkmoe.model;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.RmsNorm;
import io.sparkmoe.layer.Layers;
import io.sparkmoe.layer.Projection;
import io.sparkmoe.layer.ProjectionInput;
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

  private final Layers layers;
  private final Kernels kernels;
  private final int heads;
  private final int nopeDim;
  private final int ropeDim;
  private final int valueDim;
  private final double softmaxScale;

  /** q_a_proj (Lq, D), null with a full-rank query. */
  private final Projection queryDown;

  /** Null with a full-rank query. */
  private final RmsNorm queryNorm;

  /** q_b_proj (H*(N+R), Lq), or q_proj (H*(N+R), D) with a full-rank query. */
  private final Projection query;

  /** Rows of kv_a_proj_with_mqa that make the compressed vector, (L, D). */
  private final Projection latent;

  /** Its rows that make the shared rotary key, (R, D). */
  private final Projection ropeKey;

  private final RmsNorm latentNorm;

  /** kv_b_proj (H*(N+V), L). */
  private final Projection keyValue;

  /** o_proj (D, H*V). */
  private final Projection output;

  /**
   * What the backward needs.
   *
   * @param x input, (T, D)
   * @param queryLatent the query bottleneck, null with a full-rank query
   * @param latent the compressed key/value vector
   * @param keyRope the shared rotary key before its rotation, (T, R)
   * @param heads null where they are computed again
   * @param out heads' outputs, (T, H*V)
   * @param output the same as input of the output projection
   * @param logSumExp of each query's scores, (B, H, S)
   */
  record Saved(
      ProjectionInput x,
      Bottleneck queryLatent,
      Bottleneck latent,
      Tensor keyRope,
      Heads heads,
      Layers.Kept out,
      ProjectionInput output,
      Tensor logSumExp) {}

  /**
   * What the attention core reads.
   *
   * @param query (B, H, S, N+R)
   * @param key (B, H, S, N+R)
   * @param value (B, H, S, V)
   */
  record Heads(Tensor query, Tensor key, Tensor value) {}

  /**
   * A narrow vector per token on its way to a wide projection.
   *
   * @param norm of the vector, (T, Lq) or (T, L)
   * @param normed input of the wide projection
   */
  record Bottleneck(RmsNorm.Saved norm, ProjectionInput normed) {}

  /**
   * @param prefix of the weights' names, such as "model.layers.0.self_attn."
   */
  LatentAttention(String prefix, Parameters parameters, double softmaxScale, Layers layers) {
    ModelConfig config = parameters.config();
    this.layers = layers;
    this.kernels = layers.kernels();
    this.heads = config.numAttentionHeads();
    this.nopeDim = config.qkNopeHeadDim();
    this.ropeDim = config.qkRopeHeadDim();
    this.valueDim = config.vHeadDim();
    this.softmaxScale = softmaxScale;
    boolean bottleneck = config.qLoraRank() > 0;
    this.queryDown =
        bottleneck ? layers.projection(parameters.weight(prefix + "q_a_proj.weight")) : null;
    this.queryNorm = bottleneck ? norm(prefix + "q_a_layernorm.weight", parameters, kernels) : null;
    this.query =
        layers.projection(
            parameters.weight(prefix + (bottleneck ? "q_b_proj.weight" : "q_proj.weight")));
    this.latent = layers.projection(parameters.weight(prefix + "kv_a_proj"));
    this.ropeKey = layers.projection(parameters.weight(prefix + "k_rope_proj"));
    this.latentNorm = norm(prefix + "kv_a_layernorm.weight", parameters, kernels);
    this.keyValue = layers.projection(parameters.weight(prefix + "kv_b_proj.weight"));
    this.output = layers.projection(parameters.weight(prefix + "o_proj.weight"));
  }

  private static RmsNorm norm(String name, Parameters parameters, Kernels kernels) {
    return new RmsNorm(kernels, parameters.weight(name), ModelConfig.LATENT_NORM_EPS);
  }

  /** Adds the attention's output for x (T, D) to y (T, D). */
  Saved forward(Tensor y, ProjectionInput x, Sequences sequences, Scope scope) {
    DType type = y.type();
    int numTokens = y.rows();
    boolean keeps = layers.keepsProducts();
    try (Scope core = scope.inner()) {
      Bottleneck queryLatent =
          queryDown == null ? null : bottleneck(queryDown, queryNorm, x, y, scope, core);
      Bottleneck keyValueLatent = bottleneck(latent, latentNorm, x, y, scope, core);
      Tensor keyRope = (keeps ? core : scope).allocate(type, numTokens, ropeDim);
      ropeKey.forward(keyRope, x);
      Heads heads =
          heads(
              queryInput(x, queryLatent),
              keyValueLatent.normed,
              keyRope,
              sequences,
              keeps ? scope : core);
      Tensor out = layers.inputAllocator(scope, core).allocate(type, numTokens, headsWidth());
      Tensor logSumExp = scope.allocate(type, sequences.count(), this.heads, sequences.length());
      kernels.attention(out, logSumExp, heads.query, heads.key, heads.value, softmaxScale);
      Layers.Kept keptOut = layers.keep(out, scope);
      ProjectionInput outputInput = layers.input(out, scope, core);
      output.forwardAdd(y, outputInput);
      return new Saved(
          x,
          queryLatent,
          keyValueLatent,
          keyRope,
          keeps ? heads : null,
          keptOut,
          outputInput,
          logSumExp);
    }
  }

  /** What the query's projection reads. */
  private static ProjectionInput queryInput(ProjectionInput x, Bottleneck queryLatent) {
    return queryLatent == null ? x : queryLatent.normed;
  }

  /** H*V. */
  private int headsWidth() {
    return heads * valueDim;
  }

  /**
   * Expands what the attention core reads.
   *
   * @param keyRope (T, R)
   * @param scope owns the result
   */
  private Heads heads(
      ProjectionInput queryInput,
      ProjectionInput latentInput,
      Tensor keyRope,
      Sequences sequences,
      Scope scope) {
    DType type = keyRope.type();
    int numTokens = keyRope.rows();
    int b = sequences.count();
    int s = sequences.length();
    Heads made =
        new Heads(
            scope.allocate(type, b, heads, s, nopeDim + ropeDim),
            scope.allocate(type, b, heads, s, nopeDim + ropeDim),
            scope.allocate(type, b, heads, s, valueDim));
    try (Scope scratch = scope.inner()) {
      Tensor q = scratch.allocate(type, numTokens, query.outputWidth());
      query.forward(q, queryInput);
      kernels.assembleQuery(made.query, q, sequences.cos(), sequences.sin());
    }
    try (Scope scratch = scope.inner()) {
      Tensor kv = scratch.allocate(type, numTokens, keyValue.outputWidth());
      keyValue.forward(kv, latentInput);
      kernels.assembleKeyValue(made.key, made.value, kv, keyRope, sequences.cos(), sequences.sin());
    }
    layers.roundForCore(made.query);
    layers.roundForCore(made.key);
    layers.roundForCore(made.value);
    return made;
  }

  /** Backward of {@link #forward}: adds to dx (T, D) and to the weight gradients; dy (T, D). */
  void backward(Tensor dx, Tensor dy, Saved saved, Sequences sequences, Scope scope) {
    DType type = dy.type();
    int numTokens = dy.rows();
    try (Scope scratch = scope.inner()) {
      int b = sequences.count();
      int s = sequences.length();
      Tensor dQueries = scratch.allocate(type, b, heads, s, nopeDim + ropeDim);
      Tensor dKeys = scratch.allocate(type, b, heads, s, nopeDim + ropeDim);
      Tensor dValues = scratch.allocate(type, b, heads, s, valueDim);
      try (Scope inner = scratch.inner()) {
        Heads read =
            saved.heads != null
                ? saved.heads
                : heads(
                    queryInput(saved.x, saved.queryLatent).again(inner),
                    saved.latent.normed.again(inner),
                    saved.keyRope,
                    sequences,
                    inner);
        Tensor dOut = inner.allocate(type, numTokens, headsWidth());
        output.backward(dOut, dy, saved.output.forGradient(inner), inner);
        kernels.attentionBackward(
            dQueries,
            dKeys,
            dValues,
            dOut,
            saved.out.restore(inner),
            saved.logSumExp,
            read.query,
            read.key,
            read.value,
            softmaxScale);
      }
      ProjectionInput.ForGradient x = saved.x.forGradient(scratch);
      try (Scope inner = scratch.inner()) {
        Tensor dkv = inner.allocate(type, numTokens, keyValue.outputWidth());
        Tensor dKeyRope = inner.allocate(type, numTokens, ropeDim);
        kernels.assembleKeyValueBackward(
            dkv, dKeyRope, dKeys, dValues, sequences.cos(), sequences.sin());
        ropeKey.backwardAdd(dx, dKeyRope, x, inner);
        bottleneckBackward(dx, dkv, keyValue, latent, latentNorm, x, saved.latent, inner);
      }
      try (Scope inner = scratch.inner()) {
        Tensor dq = inner.allocate(type, numTokens, query.outputWidth());
        kernels.assembleQueryBackward(dq, dQueries, sequences.cos(), sequences.sin());
        if (queryDown == null) {
          query.backwardAdd(dx, dq, x, inner);
        } else {
          bottleneckBackward(dx, dq, query, queryDown, queryNorm, x, saved.queryLatent, inner);
        }
      }
    }
  }

  /**
   * {@code norm(x down^T)}, made ready for the projection that reads it.
   *
   * @param like of the type and the rows of x
   */
  private Bottleneck bottleneck(
      Projection down, RmsNorm norm, ProjectionInput x, Tensor like, Scope saved, Scope scratch) {
    Tensor narrow = saved.allocate(like.type(), like.rows(), down.outputWidth());
    down.forward(narrow, x);
    RmsNorm.Saved normed = norm.forward(narrow, saved, layers.inputAllocator(saved, scratch));
    return new Bottleneck(normed, layers.input(normed.y(), saved, scratch));
  }

  /**
   * Backward of {@link #bottleneck} and of the projection up after it: adds to dx and to the
   * gradients of both projections and the norm.
   *
   * @param dUp gradient of the result of {@code up}
   */
  private static void bottleneckBackward(
      Tensor dx,
      Tensor dUp,
      Projection up,
      Projection down,
      RmsNorm norm,
      ProjectionInput.ForGradient x,
      Bottleneck saved,
      Scope scratch) {
    Tensor dNormed = scratch.allocate(dUp.type(), saved.norm.x().shape());
    up.backward(dNormed, dUp, saved.normed.forGradient(scratch), scratch);
    Tensor dNarrow = scratch.zeros(dUp.type(), dNormed.shape());
    norm.backward(dNarrow, dNormed, saved.norm);
    down.backwardAdd(dx, dNarrow, x, scratch);
  }
}
