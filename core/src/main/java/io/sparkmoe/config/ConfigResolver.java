package io.sparkmoe.config;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.JsonSerializer;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializerProvider;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.config.ConfigValue.Layer;
import io.sparkmoe.model.HuggingFaceConfig;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.exceptions.DuplicateKeyException;
import org.snakeyaml.engine.v2.exceptions.MarkedYamlEngineException;
import org.snakeyaml.engine.v2.exceptions.YamlEngineException;

/**
 * Merges a run's configuration from its sources. Later layers win, whatever the order of the calls:
 * built-in default, preset or YAML file, {@code spark.moe.*} conf, {@code --set key=value}. A key
 * of a conf or of {@code --set} may lack its section ("lr" for "train.lr") where only one section
 * has it.
 */
public final class ConfigResolver {

  /** Prefix of our keys among Spark's, which passes on only those that start with "spark.". */
  public static final String CONF_PREFIX = "spark.moe.";

  /**
   * Keys under the prefix that belong to the transport and the driver, not to a run's
   * configuration.
   */
  private static final Set<String> FOREIGN_CONF_GROUPS = Set.of("driver", "io", "rpc");

  private static final Set<String> SECTIONS = Set.of("model", "train", "cluster", "distill");

  private static final ObjectMapper JSON = mapper();

  private final Map<String, ConfigValue> values = new LinkedHashMap<>();
  private final List<String> notes = new ArrayList<>();

  /** A key that is null to YAML keeps that name, for the refusal of unknown keys to say. */
  private static ObjectMapper mapper() {
    ObjectMapper mapper = new ObjectMapper();
    mapper
        .getSerializerProvider()
        .setNullKeySerializer(
            new JsonSerializer<>() {
              @Override
              public void serialize(
                  Object key, JsonGenerator generator, SerializerProvider provider)
                  throws IOException {
                generator.writeFieldName("null");
              }
            });
    return mapper;
  }

  /** Starts with the built-in defaults. */
  public ConfigResolver() {
    for (ConfigKey key : ConfigKeys.all()) {
      if (key.defaultValue() != null) {
        put(key, key.defaultValue(), Layer.DEFAULT, "default");
      }
    }
  }

  /** Takes a preset's values. */
  public ConfigResolver preset(String name) {
    return yaml(Presets.text(name), Layer.PRESET, "preset " + name);
  }

  /**
   * Takes a YAML file's values: sections {@code model}, {@code train}, {@code cluster}, {@code
   * distill}, or the keys of a Hugging Face config.json without any section.
   *
   * @param name of the file, for messages and origins
   * @param text its contents
   */
  public ConfigResolver file(String name, String text) {
    return yaml(text, Layer.FILE, name);
  }

  /** Takes {@code spark.moe.*} settings and passes over all others. */
  public ConfigResolver conf(Map<String, String> conf) {
    for (Map.Entry<String, String> entry : new TreeMap<>(conf).entrySet()) {
      if (!entry.getKey().startsWith(CONF_PREFIX)) {
        continue;
      }
      String written = entry.getKey().substring(CONF_PREFIX.length());
      if (!FOREIGN_CONF_GROUPS.contains(written.split("\\.")[0])) {
        word(written, entry.getValue(), Layer.CONF, "--conf " + entry.getKey());
      }
    }
    return this;
  }

  /**
   * Takes assignments from the command line, later ones winning.
   *
   * @param assignments each "key=value"
   */
  public ConfigResolver set(List<String> assignments) {
    for (String assignment : assignments) {
      int equals = assignment.indexOf('=');
      if (equals < 1) {
        throw new IllegalArgumentException(
            "malformed --set: got "
                + assignment
                + ", expected key=value; write for example --set train.lr=0.001");
      }
      String written = assignment.substring(0, equals);
      word(written, assignment.substring(equals + 1), Layer.SET, "--set " + written);
    }
    return this;
  }

  /**
   * Takes the value of an option that has a name of its own, such as {@code --steps}; it stands
   * above {@code --set}.
   *
   * @param fullName the key, "train.steps"
   * @param value its value as typed
   * @param option the option, for messages and origins
   */
  public ConfigResolver option(String fullName, Object value, String option) {
    word(fullName, String.valueOf(value), Layer.OPTION, option);
    return this;
  }

  /** What has come together so far. */
  public ResolvedConfig resolve() {
    return new ResolvedConfig(values, notes);
  }

  private ConfigResolver yaml(String text, Layer layer, String origin) {
    JsonNode root = parse(text, origin);
    if (!(root instanceof ObjectNode sections)) {
      throw new IllegalArgumentException(
          "cannot read config: "
              + origin
              + " holds no keys, expected the sections model, train, cluster and distill; see"
              + " core/docs/config.md");
    }
    if (sections.has("model_type") && !sections.has("model")) {
      sections = JsonNodeFactory.instance.objectNode().set("model", sections);
    }
    for (Map.Entry<String, JsonNode> section : sections.properties()) {
      if (!SECTIONS.contains(section.getKey())) {
        throw new IllegalArgumentException(
            "unknown config section: got "
                + section.getKey()
                + " from "
                + origin
                + ", expected model, train,"
                + " cluster or distill; the nearest known name is "
                + (section.getValue().isObject()
                    ? NearestName.of(section.getKey(), SECTIONS)
                    : ConfigKeys.nearest(section.getKey())));
      }
      if (section.getValue() instanceof ObjectNode keys) {
        section(section.getKey(), keys, layer, origin);
      } else if (!section.getValue().isNull()) {
        throw new IllegalArgumentException(
            "wrong config section: "
                + section.getKey()
                + " in "
                + origin
                + " is "
                + section.getValue()
                + ", expected keys below it; indent them");
      }
    }
    return this;
  }

  private void section(String section, ObjectNode given, Layer layer, String origin) {
    ObjectNode keys = given;
    if (section.equals("model")) {
      keys = modelKeys(given, origin, note -> notes.add(origin + ": " + note));
    }
    for (Map.Entry<String, JsonNode> entry : keys.properties()) {
      String fullName = section + "." + entry.getKey();
      ConfigKey key =
          ConfigKeys.byFullName(fullName).orElseThrow(() -> ConfigKeys.unknown(fullName, origin));
      put(key, key.parse(entry.getValue(), origin), layer, origin);
    }
  }

  private void word(String written, String value, Layer layer, String origin) {
    ConfigKey key = ConfigKeys.require(written, origin);
    JsonNode node = parse(value, origin);
    if (key.section().equals("model")) {
      ObjectNode one = JsonNodeFactory.instance.objectNode().set(key.name(), node);
      for (Map.Entry<String, JsonNode> entry : modelKeys(one, origin, notes::add).properties()) {
        ConfigKey normalised = ConfigKeys.require("model." + entry.getKey(), origin);
        put(normalised, normalised.parse(entry.getValue(), origin), layer, origin);
      }
    } else {
      put(key, key.parse(node, origin), layer, origin);
    }
  }

  /**
   * Keys of a model under the names of this project. What a group of rope settings does not have is
   * refused first, since a model would pass over it.
   */
  private static ObjectNode modelKeys(ObjectNode given, String origin, Consumer<String> notes) {
    for (String group : HuggingFaceConfig.ROPE_GROUPS) {
      for (Map.Entry<String, JsonNode> entry : given.path(group).properties()) {
        if (!HuggingFaceConfig.ROPE_KEYS.contains(entry.getKey())) {
          String section = "model." + group + ".";
          throw ConfigKeys.unknown(
              section + entry.getKey(),
              origin,
              section + NearestName.of(entry.getKey(), HuggingFaceConfig.ROPE_KEYS));
        }
      }
    }
    return HuggingFaceConfig.normalise(given, notes);
  }

  private void put(ConfigKey key, JsonNode value, Layer layer, String origin) {
    ConfigValue before = values.get(key.fullName());
    if (before == null || before.layer().compareTo(layer) <= 0) {
      values.put(key.fullName(), new ConfigValue(value, layer, origin));
    }
  }

  private static JsonNode parse(String text, String origin) {
    try {
      return JSON.valueToTree(
          new Load(LoadSettings.builder().setLabel(origin).build()).loadFromString(text));
    } catch (DuplicateKeyException e) {
      throw new IllegalArgumentException(
          "duplicate config key: "
              + origin
              + " has it twice ("
              + problem(e)
              + "), expected every key once; delete one",
          e);
    } catch (YamlEngineException | IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "cannot read config: "
              + origin
              + " is not YAML ("
              + (e instanceof MarkedYamlEngineException marked
                  ? problem(marked)
                  : firstLine(e.getMessage()))
              + "), expected key: value lines; correct it",
          e);
    } catch (StackOverflowError e) {
      throw new IllegalArgumentException(
          "cannot read config: "
              + origin
              + " nests without end, such as an alias inside its own anchor, expected key: value"
              + " lines; correct it",
          e);
    }
  }

  /** Where the parser stopped, as editors count, and why. */
  private static String problem(MarkedYamlEngineException failure) {
    String place =
        failure
            .getProblemMark()
            .map(mark -> "line " + (mark.getLine() + 1) + ", column " + (mark.getColumn() + 1))
            .map(words -> words + ": ")
            .orElse("");
    return place + firstLine(failure.getProblem());
  }

  private static String firstLine(String text) {
    return String.valueOf(text).lines().map(String::strip).findFirst().orElse("");
  }
}
