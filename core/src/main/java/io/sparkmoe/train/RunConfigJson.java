package io.sparkmoe.train;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.cfg.EnumFeature;
import com.fasterxml.jackson.databind.exc.ValueInstantiationException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.model.HuggingFaceConfig;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.parallel.ClusterConfig;

/** A {@link RunConfig} as a tree of the keys that a person writes, and back. */
public final class RunConfigJson {

  private static final ObjectMapper JSON =
      JsonMapper.builder()
          .enable(EnumFeature.WRITE_ENUMS_TO_LOWERCASE)
          .enable(MapperFeature.ACCEPT_CASE_INSENSITIVE_ENUMS)
          .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .enable(DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES)
          .build();

  /** Section of a {@link TrainConfig}. */
  static final String TRAIN = "train";

  /** Section of a {@link ClusterConfig}. */
  static final String CLUSTER = "cluster";

  /** Section of a {@link DistillConfig}. */
  static final String DISTILL = "distill";

  private RunConfigJson() {}

  /** The sections of a config with every key. */
  public static ObjectNode toJson(RunConfig config) {
    ObjectNode root = JSON.createObjectNode();
    root.set("model", modelKeys(config.model()));
    root.set(TRAIN, JSON.valueToTree(config.train()));
    root.set(CLUSTER, JSON.valueToTree(config.cluster()));
    root.set(DISTILL, toJson(config.distill()));
    return root;
  }

  /** The keys of the section {@link #DISTILL}. */
  static ObjectNode toJson(DistillConfig distill) {
    return JSON.valueToTree(distill);
  }

  /**
   * Reads what {@link #toJson} wrote.
   *
   * @throws IllegalArgumentException when a key is missing, unknown or impossible
   */
  public static RunConfig fromJson(JsonNode root) {
    return new RunConfig(
        HuggingFaceConfig.fromJson(root.path("model"), note -> {}),
        section(root, TRAIN, TrainConfig.class),
        section(root, CLUSTER, ClusterConfig.class),
        section(root, DISTILL, DistillConfig.class));
  }

  private static ObjectNode modelKeys(ModelConfig model) {
    ObjectNode all = HuggingFaceConfig.toJson(model);
    ObjectNode keys = JSON.createObjectNode();
    HuggingFaceConfig.KEYS.forEach(key -> keys.set(key, all.get(key)));
    return keys;
  }

  private static <T> T section(JsonNode root, String name, Class<T> type) {
    try {
      return JSON.treeToValue(root.path(name), type);
    } catch (ValueInstantiationException e) {
      if (e.getCause() instanceof IllegalArgumentException cause) {
        throw cause;
      }
      throw new IllegalArgumentException(name + ": " + e.getOriginalMessage(), e);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(name + ": " + e.getOriginalMessage(), e);
    }
  }
}
