package io.sparkmoe.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.model.ModelConfig.MtpHidden;
import io.sparkmoe.model.ModelConfig.Yarn;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A {@link ModelConfig} as the {@code config.json} of Hugging Face's {@code DeepseekV3ForCausalLM},
 * and back. Published files may be pasted whole: {@link #normalise} sorts their keys into those
 * that shape the model, those that say something else than this program does (refused), and those
 * that do not concern it (noted).
 */
public final class HuggingFaceConfig {

  /** Keys that a {@link ModelConfig} is made of, in the order of its components. */
  public static final List<String> KEYS =
      List.of(
          "vocab_size",
          "hidden_size",
          "num_hidden_layers",
          "first_k_dense_replace",
          "num_attention_heads",
          "q_lora_rank",
          "kv_lora_rank",
          "qk_nope_head_dim",
          "qk_rope_head_dim",
          "v_head_dim",
          "intermediate_size",
          "moe_intermediate_size",
          "n_routed_experts",
          "num_experts_per_tok",
          "n_group",
          "topk_group",
          "n_shared_experts",
          "routed_scaling_factor",
          "norm_topk_prob",
          "rms_norm_eps",
          "rope_theta",
          "rope_parameters",
          "max_position_embeddings",
          "num_nextn_predict_layers",
          "mtp_hidden",
          "initializer_range");

  /** Keys of published files that change nothing in training. */
  private static final Set<String> IGNORED =
      Set.of(
          "_name_or_path",
          "architectures",
          "auto_map",
          "bos_token_id",
          "dtype",
          "eos_token_id",
          "ep_size",
          "output_router_logits",
          "pad_token_id",
          "pretraining_tp",
          "quantization_config",
          "seq_aux",
          "torch_dtype",
          "transformers_version",
          "use_cache");

  /** Keys that must have the one value that this program implements. */
  private static final Map<String, JsonNode> FIXED = fixed();

  /** Keys whose value follows from another key. */
  private static final Map<String, String> DERIVED =
      Map.of(
          "num_key_value_heads", "num_attention_heads",
          "num_local_experts", "n_routed_experts",
          "head_dim", "qk_rope_head_dim");

  private static final Set<String> YARN_KEYS =
      Set.of(
          "factor",
          "beta_fast",
          "beta_slow",
          "mscale",
          "mscale_all_dim",
          "original_max_position_embeddings");

  /** Every key of a group of rope settings, whichever of its two names the group has. */
  public static final Set<String> ROPE_KEYS =
      Stream.concat(YARN_KEYS.stream(), Stream.of("rope_type", "type", "rope_theta"))
          .collect(Collectors.toUnmodifiableSet());

  /** Names of that group. */
  public static final List<String> ROPE_GROUPS = List.of("rope_scaling", "rope_parameters");

  private HuggingFaceConfig() {}

  private static Map<String, JsonNode> fixed() {
    JsonNodeFactory json = JsonNodeFactory.instance;
    Map<String, JsonNode> values = new LinkedHashMap<>();
    values.put("model_type", json.textNode("deepseek_v3"));
    values.put("hidden_act", json.textNode("silu"));
    values.put("scoring_func", json.textNode("sigmoid"));
    values.put("topk_method", json.textNode("noaux_tc"));
    values.put("moe_layer_freq", json.numberNode(1));
    values.put("attention_bias", json.booleanNode(false));
    values.put("attention_dropout", json.numberNode(0.0));
    values.put("tie_word_embeddings", json.booleanNode(false));
    values.put("rope_interleave", json.booleanNode(true));
    return Collections.unmodifiableMap(values);
  }

  /**
   * Sorts pasted keys.
   *
   * @param given keys as pasted, rope settings under {@code rope_parameters} or {@code
   *     rope_scaling}
   * @param notes receives one sentence for every key that was left out
   * @return the keys of {@link #KEYS} that were given, {@code rope_parameters} either null or a
   *     YaRN object; keys that nobody knows stay in, for the caller to refuse with a suggestion
   * @throws IllegalArgumentException when a key asks for what this program does not do
   */
  public static ObjectNode normalise(ObjectNode given, Consumer<String> notes) {
    ObjectNode keys = JsonNodeFactory.instance.objectNode();
    for (Map.Entry<String, JsonNode> entry : given.properties()) {
      String key = entry.getKey();
      JsonNode value = entry.getValue();
      if (IGNORED.contains(key)) {
        notes.accept("model." + key + " is ignored: it changes nothing in training");
      } else if (key.equals("aux_loss_alpha")) {
        notes.accept(
            "model.aux_loss_alpha is ignored: the balance loss is set by train.balance_loss_alpha");
      } else if (FIXED.containsKey(key)) {
        requireFixed(key, value);
      } else if (DERIVED.containsKey(key) || key.equals("qk_head_dim")) {
        requireDerived(given, key, value);
      } else if (value.isNull() && Set.of("q_lora_rank", "n_shared_experts").contains(key)) {
        keys.put(key, 0);
      } else if (!key.equals("rope_parameters") && !key.equals("rope_scaling")) {
        keys.set(key, value);
      }
    }
    addRope(keys, given);
    return keys;
  }

  /**
   * Reads a whole config.json.
   *
   * @param notes receives one sentence for every key that was left out
   * @throws IllegalArgumentException when a key is missing, unknown, of the wrong type, or refused
   */
  public static ModelConfig fromJson(JsonNode json, Consumer<String> notes) {
    if (!(json instanceof ObjectNode given)) {
      throw new IllegalArgumentException(
          "a model's config.json must be a JSON object, got " + json.getNodeType());
    }
    ObjectNode keys = normalise(given, notes);
    for (Map.Entry<String, JsonNode> entry : keys.properties()) {
      require(KEYS.contains(entry.getKey()), entry.getKey() + " is no key of a DeepSeek-V3 model");
    }
    return toConfig(keys);
  }

  /**
   * Reads the config.json of somebody else's model, in which keys that nobody here knows are left
   * out, as transformers does, and noted; otherwise as {@link #fromJson}.
   *
   * @param numMtpModules MTP modules whose weights are there, whatever the file says
   */
  public static ModelConfig fromPublished(
      ObjectNode given, int numMtpModules, Consumer<String> notes) {
    ObjectNode keys = normalise(given, note -> {});
    List<String> unknown = new ArrayList<>();
    keys.fieldNames().forEachRemaining(key -> unknown.add(key));
    unknown.removeAll(KEYS);
    for (String key : unknown) {
      notes.accept("model." + key + " is ignored: it is no key of a DeepSeek-V3 model");
      keys.remove(key);
    }
    keys.put("num_nextn_predict_layers", numMtpModules);
    int numLayers = integer(keys, "num_hidden_layers") + numMtpModules;
    keys.put("first_k_dense_replace", Math.min(integer(keys, "first_k_dense_replace"), numLayers));
    return toConfig(keys);
  }

  private static ModelConfig toConfig(ObjectNode keys) {
    return new ModelConfig(
        integer(keys, "vocab_size"),
        integer(keys, "hidden_size"),
        integer(keys, "num_hidden_layers"),
        integer(keys, "first_k_dense_replace"),
        integer(keys, "num_attention_heads"),
        keys.has("q_lora_rank") ? integer(keys, "q_lora_rank") : 0,
        integer(keys, "kv_lora_rank"),
        integer(keys, "qk_nope_head_dim"),
        integer(keys, "qk_rope_head_dim"),
        integer(keys, "v_head_dim"),
        integer(keys, "intermediate_size"),
        integer(keys, "moe_intermediate_size"),
        integer(keys, "n_routed_experts"),
        integer(keys, "num_experts_per_tok"),
        integer(keys, "n_group"),
        integer(keys, "topk_group"),
        integer(keys, "n_shared_experts"),
        number(keys, "routed_scaling_factor"),
        bool(keys, "norm_topk_prob"),
        number(keys, "rms_norm_eps"),
        keys.has("rope_theta") ? number(keys, "rope_theta") : 10_000,
        yarn(keys.path("rope_parameters")),
        integer(keys, "max_position_embeddings"),
        keys.has("num_nextn_predict_layers") ? integer(keys, "num_nextn_predict_layers") : 0,
        mtpHidden(keys.path("mtp_hidden")),
        keys.has("initializer_range") ? number(keys, "initializer_range") : 0.02);
  }

  /** Writes a config.json that transformers loads, {@code mtp_hidden} beside its own keys. */
  public static ObjectNode toJson(ModelConfig config) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.putArray("architectures").add("DeepseekV3ForCausalLM");
    FIXED.forEach(json::set);
    json.put("dtype", "float32");
    // Other defaults of transformers' would name ids that our tokenizers do not reserve.
    json.putNull("bos_token_id").putNull("eos_token_id").putNull("pad_token_id");
    json.put("vocab_size", config.vocabSize());
    json.put("hidden_size", config.hiddenSize());
    json.put("num_hidden_layers", config.numHiddenLayers());
    json.put("first_k_dense_replace", config.firstKDenseReplace());
    json.put("num_attention_heads", config.numAttentionHeads());
    json.put("num_key_value_heads", config.numAttentionHeads());
    if (config.qLoraRank() == 0) {
      json.putNull("q_lora_rank");
    } else {
      json.put("q_lora_rank", config.qLoraRank());
    }
    json.put("kv_lora_rank", config.kvLoraRank());
    json.put("qk_nope_head_dim", config.qkNopeHeadDim());
    json.put("qk_rope_head_dim", config.qkRopeHeadDim());
    json.put("v_head_dim", config.vHeadDim());
    json.put("intermediate_size", config.intermediateSize());
    json.put("moe_intermediate_size", config.moeIntermediateSize());
    json.put("n_routed_experts", config.numRoutedExperts());
    json.put("num_experts_per_tok", config.numExpertsPerTok());
    json.put("n_group", config.numGroups());
    json.put("topk_group", config.topGroups());
    json.put("n_shared_experts", config.numSharedExperts());
    json.put("routed_scaling_factor", config.routedScalingFactor());
    json.put("norm_topk_prob", config.normTopkProb());
    json.put("rms_norm_eps", config.rmsNormEps());
    json.put("rope_theta", config.ropeTheta());
    json.set("rope_parameters", rope(config));
    json.put("max_position_embeddings", config.maxPositionEmbeddings());
    json.put("num_nextn_predict_layers", config.numMtpModules());
    json.put("mtp_hidden", config.mtpHidden().name().toLowerCase(Locale.ROOT));
    json.put("initializer_range", config.initializerRange());
    return json;
  }

  private static ObjectNode rope(ModelConfig config) {
    ObjectNode rope = JsonNodeFactory.instance.objectNode();
    rope.put("rope_type", config.yarn() == null ? "default" : "yarn");
    rope.put("rope_theta", config.ropeTheta());
    Yarn yarn = config.yarn();
    if (yarn != null) {
      rope.put("factor", yarn.factor());
      rope.put("beta_fast", yarn.betaFast());
      rope.put("beta_slow", yarn.betaSlow());
      rope.put("mscale", yarn.mscale());
      rope.put("mscale_all_dim", yarn.mscaleAllDim());
      rope.put("original_max_position_embeddings", yarn.originalMaxPositionEmbeddings());
    }
    return rope;
  }

  /**
   * Merges the two spellings of the rope settings into {@code rope_theta} and a YaRN object or
   * null.
   */
  private static void addRope(ObjectNode keys, ObjectNode given) {
    for (String key : ROPE_GROUPS) {
      JsonNode rope = given.get(key);
      if (rope == null) {
        continue;
      }
      if (rope.isNull()) {
        keys.putIfAbsent("rope_parameters", rope);
        continue;
      }
      require(rope.isObject(), key + " must be a group of keys or null, got " + rope);
      requireType(key, rope);
      String type = rope.path("rope_type").asText(rope.path("type").asText("default"));
      require(
          type.equals("default") || type.equals("yarn"),
          key + ".rope_type must be default or yarn, got " + type);
      if (rope.has("rope_theta")) {
        JsonNode theta = keys.get("rope_theta");
        require(
            theta == null || theta.doubleValue() == rope.get("rope_theta").doubleValue(),
            "rope_theta is "
                + theta
                + ", but "
                + key
                + ".rope_theta is "
                + rope.get("rope_theta")
                + "; leave one of them out");
        keys.set("rope_theta", rope.get("rope_theta"));
      }
      keys.set(
          "rope_parameters",
          type.equals("yarn") ? yarnKeys(given, key, rope) : JsonNodeFactory.instance.nullNode());
    }
  }

  /** A scaling that does not say which one it is would otherwise count as none. */
  private static void requireType(String key, JsonNode rope) {
    if (rope.has("rope_type") || rope.has("type")) {
      return;
    }
    for (Map.Entry<String, JsonNode> entry : rope.properties()) {
      require(
          !YARN_KEYS.contains(entry.getKey()),
          key
              + " has "
              + entry.getKey()
              + " but no rope_type, expected rope_type: yarn (or default, for no scaling) beside"
              + " it; add it");
    }
  }

  /** Absent temperatures stay out and count as zero, which {@link Yarn} takes as not given. */
  private static ObjectNode yarnKeys(ObjectNode given, String key, JsonNode rope) {
    ObjectNode yarn = JsonNodeFactory.instance.objectNode();
    yarn.put("beta_fast", 32.0).put("beta_slow", 1.0);
    yarn.set("original_max_position_embeddings", given.path("max_position_embeddings"));
    for (Map.Entry<String, JsonNode> entry : rope.properties()) {
      String name = entry.getKey();
      if (YARN_KEYS.contains(name)) {
        require(
            entry.getValue().isNumber(),
            key + "." + name + " must be a number, got " + entry.getValue());
        yarn.set(name, entry.getValue());
      } else {
        require(ROPE_KEYS.contains(name), key + "." + name + " is not supported; remove it");
      }
    }
    require(
        yarn.path("factor").asDouble() >= 1,
        key + ".factor must be >= 1, got " + yarn.path("factor"));
    return yarn;
  }

  private static void requireFixed(String key, JsonNode value) {
    JsonNode expected = FIXED.get(key);
    boolean equal =
        expected.isNumber()
            ? value.isNumber() && value.doubleValue() == expected.doubleValue()
            : value.equals(expected);
    require(
        equal,
        key
            + " is "
            + value.asText()
            + ", only "
            + expected.asText()
            + " is implemented; remove the key or take another model");
  }

  /** Checks a value that other keys give, when they are given beside it. */
  private static void requireDerived(ObjectNode given, String key, JsonNode value) {
    List<String> sources =
        key.equals("qk_head_dim")
            ? List.of("qk_nope_head_dim", "qk_rope_head_dim")
            : List.of(DERIVED.get(key));
    if (!sources.stream().allMatch(given::has)) {
      return;
    }
    int expected = sources.stream().mapToInt(source -> given.get(source).asInt()).sum();
    require(
        value.asInt(-1) == expected,
        key
            + " is "
            + value
            + ", expected "
            + String.join(" + ", sources)
            + "="
            + expected
            + "; leave "
            + key
            + " out");
  }

  private static Yarn yarn(JsonNode node) {
    return node.isObject()
        ? new Yarn(
            node.path("factor").doubleValue(),
            node.path("beta_fast").doubleValue(),
            node.path("beta_slow").doubleValue(),
            node.path("mscale").doubleValue(),
            node.path("mscale_all_dim").doubleValue(),
            node.path("original_max_position_embeddings").intValue())
        : null;
  }

  private static MtpHidden mtpHidden(JsonNode node) {
    if (node.isMissingNode() || node.isNull()) {
      return MtpHidden.POST_NORM;
    }
    for (MtpHidden choice : MtpHidden.values()) {
      if (choice.name().equalsIgnoreCase(node.asText())) {
        return choice;
      }
    }
    throw new IllegalArgumentException(
        "model.mtp_hidden must be post_norm or pre_norm, got " + node.asText());
  }

  private static int integer(ObjectNode keys, String key) {
    JsonNode value = present(keys, key);
    require(
        value.isIntegralNumber() && value.canConvertToInt(),
        key + " must be an integer, got " + value);
    return value.intValue();
  }

  private static double number(ObjectNode keys, String key) {
    JsonNode value = present(keys, key);
    require(value.isNumber(), key + " must be a number, got " + value);
    return value.doubleValue();
  }

  private static boolean bool(ObjectNode keys, String key) {
    JsonNode value = present(keys, key);
    require(value.isBoolean(), key + " must be true or false, got " + value);
    return value.booleanValue();
  }

  private static JsonNode present(ObjectNode keys, String key) {
    JsonNode value = keys.get(key);
    require(value != null, key + " is missing");
    return value;
  }

  private static void require(boolean holds, String message) {
    if (!holds) {
      throw new IllegalArgumentException("model." + message);
    }
  }
}
