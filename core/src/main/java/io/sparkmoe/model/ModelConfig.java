package io.sparkmoe.model;

import com.fasterxml.jackson.annotation.JsonProperty;

/**
 * Shape of a model, under the keys of Hugging Face's {@code DeepseekV3Config}. The constructor
 * refuses impossible shapes.
 *
 * @param vocabSize number of token ids
 * @param hiddenSize model width D
 * @param numHiddenLayers decoder layers, MTP modules not counted
 * @param firstKDenseReplace how many of the first layers, MTP modules counted last, have a dense
 *     FFN instead of experts
 * @param numAttentionHeads heads H
 * @param qLoraRank width of the query bottleneck, 0 = a full-rank query
 * @param kvLoraRank width of the compressed key/value vector
 * @param qkNopeHeadDim query/key channels of a head without position
 * @param qkRopeHeadDim query/key channels of a head with rotary position, even
 * @param vHeadDim value channels of a head
 * @param intermediateSize width of a dense FFN
 * @param moeIntermediateSize width F of an expert
 * @param numRoutedExperts routed experts E of a MoE layer
 * @param numExpertsPerTok experts K of a token
 * @param numGroups expert groups
 * @param topGroups groups that a token may use
 * @param numSharedExperts shared experts, one FFN of that many expert widths; 0 = none
 * @param routedScalingFactor factor of the routing weights
 * @param normTopkProb whether the weights of a token's experts are normalised to sum one first
 * @param rmsNormEps epsilon of every RMS norm but those of latents, {@link #LATENT_NORM_EPS}
 * @param ropeTheta rotary base
 * @param yarn long-context scaling of the rotary angles, null = none
 * @param maxPositionEmbeddings longest sequence that the model is meant for
 * @param numMtpModules MTP modules, each predicting one token further
 * @param mtpHidden whether an MTP module reads the hidden state after or before the main model's
 *     final norm
 * @param initializerRange standard deviation of the initial weights
 */
public record ModelConfig(
    @JsonProperty("vocab_size") int vocabSize,
    @JsonProperty("hidden_size") int hiddenSize,
    @JsonProperty("num_hidden_layers") int numHiddenLayers,
    @JsonProperty("first_k_dense_replace") int firstKDenseReplace,
    @JsonProperty("num_attention_heads") int numAttentionHeads,
    @JsonProperty("q_lora_rank") int qLoraRank,
    @JsonProperty("kv_lora_rank") int kvLoraRank,
    @JsonProperty("qk_nope_head_dim") int qkNopeHeadDim,
    @JsonProperty("qk_rope_head_dim") int qkRopeHeadDim,
    @JsonProperty("v_head_dim") int vHeadDim,
    @JsonProperty("intermediate_size") int intermediateSize,
    @JsonProperty("moe_intermediate_size") int moeIntermediateSize,
    @JsonProperty("n_routed_experts") int numRoutedExperts,
    @JsonProperty("num_experts_per_tok") int numExpertsPerTok,
    @JsonProperty("n_group") int numGroups,
    @JsonProperty("topk_group") int topGroups,
    @JsonProperty("n_shared_experts") int numSharedExperts,
    @JsonProperty("routed_scaling_factor") double routedScalingFactor,
    @JsonProperty("norm_topk_prob") boolean normTopkProb,
    @JsonProperty("rms_norm_eps") double rmsNormEps,
    @JsonProperty("rope_theta") double ropeTheta,
    @JsonProperty("rope_parameters") Yarn yarn,
    @JsonProperty("max_position_embeddings") int maxPositionEmbeddings,
    @JsonProperty("num_nextn_predict_layers") int numMtpModules,
    @JsonProperty("mtp_hidden") MtpHidden mtpHidden,
    @JsonProperty("initializer_range") double initializerRange) {

  /**
   * Epsilon of q_a_layernorm and kv_a_layernorm, which DeepSeek's and Hugging Face's code create
   * without the config's one.
   */
  public static final double LATENT_NORM_EPS = 1e-6;

  /**
   * Upper limits, far above any model: they keep every product of sizes within a long, and lists of
   * tensors short.
   */
  private static final int MOST_LAYERS = 1 << 12;

  private static final int MOST_VOCABULARY = 1 << 24;

  /** Of a width, a rank or a number of heads, and of all heads or shared experts together. */
  private static final int MOST_WIDTH = 1 << 18;

  /** Of all layers together. */
  private static final int MOST_EXPERTS = 1 << 18;

  /** Which hidden state of the main model feeds the first MTP module. */
  public enum MtpHidden {
    POST_NORM,
    PRE_NORM
  }

  /**
   * YaRN scaling of rotary positions (Peng et al. 2023).
   *
   * @param factor context extension factor
   * @param betaFast rotations above which a channel keeps its angle, 0 = 32
   * @param betaSlow rotations below which a channel is interpolated in full, 0 = 1
   * @param mscale attention temperature of the angle tables, 0 = not given
   * @param mscaleAllDim attention temperature of the softmax scale, 0 = not given
   * @param originalMaxPositionEmbeddings context length before the extension
   */
  public record Yarn(
      @JsonProperty("factor") double factor,
      @JsonProperty("beta_fast") double betaFast,
      @JsonProperty("beta_slow") double betaSlow,
      @JsonProperty("mscale") double mscale,
      @JsonProperty("mscale_all_dim") double mscaleAllDim,
      @JsonProperty("original_max_position_embeddings") int originalMaxPositionEmbeddings) {

    public Yarn {
      require(factor >= 1, "rope_parameters.factor must be >= 1, got " + factor);
      require(
          originalMaxPositionEmbeddings > 0,
          "rope_parameters.original_max_position_embeddings must be > 0, got "
              + originalMaxPositionEmbeddings);
      betaFast = betaFast == 0 ? 32 : betaFast;
      betaSlow = betaSlow == 0 ? 1 : betaSlow;
      require(
          betaFast > betaSlow && betaSlow > 0,
          "rope_parameters.beta_fast must be > beta_slow=" + betaSlow + " > 0, got " + betaFast);
    }
  }

  public ModelConfig {
    positive("vocab_size", vocabSize);
    positive("hidden_size", hiddenSize);
    positive("num_hidden_layers", numHiddenLayers);
    positive("num_attention_heads", numAttentionHeads);
    positive("kv_lora_rank", kvLoraRank);
    positive("qk_nope_head_dim", qkNopeHeadDim);
    positive("qk_rope_head_dim", qkRopeHeadDim);
    positive("v_head_dim", vHeadDim);
    positive("intermediate_size", intermediateSize);
    positive("max_position_embeddings", maxPositionEmbeddings);
    require(rmsNormEps > 0, "rms_norm_eps must be > 0, got " + rmsNormEps);
    require(ropeTheta > 1, "rope_theta must be > 1, got " + ropeTheta);
    require(initializerRange >= 0, "initializer_range must be >= 0, got " + initializerRange);
    require(numMtpModules >= 0, "num_nextn_predict_layers must be >= 0, got " + numMtpModules);
    require(qLoraRank >= 0, "q_lora_rank must be >= 0 (0 = full-rank query), got " + qLoraRank);
    atMost("vocab_size", MOST_VOCABULARY, vocabSize);
    atMost("hidden_size", MOST_WIDTH, hiddenSize);
    atMost("num_hidden_layers", MOST_LAYERS, numHiddenLayers);
    atMost("num_nextn_predict_layers", MOST_LAYERS, numMtpModules);
    atMost("q_lora_rank", MOST_WIDTH, qLoraRank);
    atMost("kv_lora_rank", MOST_WIDTH, kvLoraRank);
    atMost("intermediate_size", MOST_WIDTH, intermediateSize);
    atMost("num_attention_heads", MOST_WIDTH, numAttentionHeads);
    shareAtMost(
        "qk_nope_head_dim", MOST_WIDTH, "num_attention_heads", numAttentionHeads, qkNopeHeadDim);
    shareAtMost(
        "qk_rope_head_dim", MOST_WIDTH, "num_attention_heads", numAttentionHeads, qkRopeHeadDim);
    shareAtMost("v_head_dim", MOST_WIDTH, "num_attention_heads", numAttentionHeads, vHeadDim);
    require(
        qkRopeHeadDim % 2 == 0,
        "qk_rope_head_dim must be even (rotary pairs), got " + qkRopeHeadDim);
    require(
        firstKDenseReplace >= 0 && firstKDenseReplace <= numHiddenLayers + numMtpModules,
        "first_k_dense_replace must be in [0, num_hidden_layers+num_nextn_predict_layers="
            + (numHiddenLayers + numMtpModules)
            + "], got "
            + firstKDenseReplace);
    require(numSharedExperts >= 0, "n_shared_experts must be >= 0, got " + numSharedExperts);
    if (firstKDenseReplace < numHiddenLayers + numMtpModules) {
      positive("n_routed_experts", numRoutedExperts);
      positive("moe_intermediate_size", moeIntermediateSize);
      atMost("moe_intermediate_size", MOST_WIDTH, moeIntermediateSize);
      shareAtMost(
          "n_shared_experts",
          MOST_WIDTH,
          "moe_intermediate_size",
          moeIntermediateSize,
          numSharedExperts);
      shareAtMost(
          "n_routed_experts",
          MOST_EXPERTS,
          "MoE layers",
          numHiddenLayers + numMtpModules - firstKDenseReplace,
          numRoutedExperts);
      require(
          routedScalingFactor > 0, "routed_scaling_factor must be > 0, got " + routedScalingFactor);
      positive("n_group", numGroups);
      require(
          numRoutedExperts % numGroups == 0,
          "n_routed_experts must be a multiple of n_group="
              + numGroups
              + ", got "
              + numRoutedExperts);
      int groupSize = numRoutedExperts / numGroups;
      require(
          numGroups == 1 || groupSize >= 2,
          "n_group must leave a group 2 experts (its score is the sum of its two best), got"
              + " n_routed_experts="
              + numRoutedExperts
              + " in n_group="
              + numGroups);
      require(
          topGroups >= 1 && topGroups <= numGroups,
          "topk_group must be in [1, n_group=" + numGroups + "], got " + topGroups);
      require(
          numExpertsPerTok >= 1 && numExpertsPerTok <= topGroups * groupSize,
          "num_experts_per_tok must be in [1, topk_group*n_routed_experts/n_group="
              + topGroups * groupSize
              + "], got "
              + numExpertsPerTok);
    }
    if (mtpHidden == null) {
      mtpHidden = MtpHidden.POST_NORM;
    }
  }

  /** Whether the layer has experts; layers from {@link #numHiddenLayers} on are MTP modules. */
  public boolean isMoe(int layer) {
    return layer >= firstKDenseReplace;
  }

  /** Decoder layers of the main model and its MTP modules. */
  public int numLayers() {
    return numHiddenLayers + numMtpModules;
  }

  /** MoE layers, MTP modules included. */
  public int numMoeLayers() {
    return numLayers() - firstKDenseReplace;
  }

  /** Query/key channels of a head. */
  public int qkHeadDim() {
    return qkNopeHeadDim + qkRopeHeadDim;
  }

  private static void positive(String key, int value) {
    require(value > 0, key + " must be > 0, got " + value);
  }

  private static void atMost(String key, int limit, int value) {
    require(value <= limit, key + " must be <= " + limit + ", got " + value);
  }

  /** Limits what is there {@code times} times, by {@code timesName}. */
  private static void shareAtMost(String key, int limit, String timesName, int times, int value) {
    require(
        value <= limit / times,
        key + " must be <= " + limit + "/" + timesName + "=" + limit / times + ", got " + value);
  }

  private static void require(boolean holds, String message) {
    if (!holds) {
      throw new IllegalArgumentException("model." + message);
    }
  }
}
