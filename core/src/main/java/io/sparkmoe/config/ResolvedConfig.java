package io.sparkmoe.config;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.config.ConfigValue.Layer;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunConfigJson;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The merged configuration of a run, with the origin of every value. */
public final class ResolvedConfig {

  /** A key as the sentences of the configs' records name it; bare words are words. */
  private static final Pattern NAME = Pattern.compile("[a-z]+(?:_[a-z0-9]+)+|[a-z0-9]+(?==)");

  private final Map<String, ConfigValue> values;
  private final List<String> notes;

  ResolvedConfig(Map<String, ConfigValue> values, List<String> notes) {
    this.values = new LinkedHashMap<>(values);
    this.notes = List.copyOf(notes);
    ConfigValue lr = values.get("train.lr");
    double tenth = lr.value().doubleValue() / 10;
    this.values.putIfAbsent(
        "train.min_lr",
        new ConfigValue(
            JsonNodeFactory.instance.numberNode(tenth), Layer.DEFAULT, "a tenth of train.lr"));
  }

  /** One sentence for every key that was read and left out. */
  public List<String> notes() {
    return notes;
  }

  /** A key's value and origin, by its full name. */
  public Optional<ConfigValue> value(String fullName) {
    return Optional.ofNullable(values.get(fullName));
  }

  /**
   * This configuration with the vocabulary of the data's tokenizer. A vocabulary that a person has
   * set stays when it has room for the tokenizer's.
   *
   * @param vocabSize ids of the tokenizer
   * @param origin the dataset in words
   */
  public ResolvedConfig withTokenizer(int vocabSize, String origin) {
    ConfigValue given = values.get("model.vocab_size");
    if (given != null && given.isExplicit()) {
      if (given.value().intValue() < vocabSize) {
        throw new IllegalArgumentException(
            "vocabulary too small: model.vocab_size is "
                + given.value()
                + " from "
                + given.origin()
                + ", the tokenizer of "
                + origin
                + " has "
                + vocabSize
                + " ids; leave the key out");
      }
      return this;
    }
    ResolvedConfig filled = new ResolvedConfig(values, notes);
    filled.values.put(
        "model.vocab_size",
        new ConfigValue(
            JsonNodeFactory.instance.numberNode(vocabSize), Layer.DATA, "tokenizer of " + origin));
    return filled;
  }

  /**
   * This configuration as {@link RunConfig#forLocalEngine} runs it.
   *
   * @param origin of what one process does otherwise
   */
  public ResolvedConfig forLocalEngine(String origin) {
    ResolvedConfig local = new ResolvedConfig(values, notes);
    ObjectNode cluster =
        RunConfigJson.toJson(toRunConfig().forLocalEngine()).withObject("/cluster");
    for (Map.Entry<String, JsonNode> entry : cluster.properties()) {
      JsonNode value = entry.getValue();
      local.values.computeIfPresent(
          "cluster." + entry.getKey(),
          (key, given) ->
              given.value().asText().equals(value.asText())
                  ? given
                  : new ConfigValue(value, Layer.OPTION, origin));
    }
    return local;
  }

  /**
   * The configuration as the program uses it.
   *
   * @throws IllegalArgumentException when a key is missing or an impossible combination was asked
   *     for, naming its origin
   */
  public RunConfig toRunConfig() {
    requireComplete();
    try {
      return RunConfigJson.fromJson(toJson());
    } catch (IllegalArgumentException e) {
      throw withOrigin(e);
    }
  }

  /** Sections and keys without origins. */
  public ObjectNode toJson() {
    ObjectNode root = JsonNodeFactory.instance.objectNode();
    for (ConfigKey key : ConfigKeys.all()) {
      ConfigValue value = values.get(key.fullName());
      if (value != null) {
        root.withObject("/" + key.section()).set(key.name(), value.value());
      }
    }
    // A group of YaRN keys says its type where Hugging Face looks for it.
    if (root.path("model").path("rope_parameters") instanceof ObjectNode yarn) {
      ObjectNode typed = JsonNodeFactory.instance.objectNode().put("rope_type", "yarn");
      typed.setAll(yarn);
      ((ObjectNode) root.path("model")).set("rope_parameters", typed);
    }
    return root;
  }

  /** YAML with every value's origin as a comment; reading it gives the same values. */
  public String toYaml() {
    StringBuilder yaml = new StringBuilder();
    ObjectNode root = toJson();
    for (Map.Entry<String, JsonNode> section : root.properties()) {
      yaml.append(section.getKey()).append(":\n");
      for (Map.Entry<String, JsonNode> entry : section.getValue().properties()) {
        String line = "  " + entry.getKey() + ": " + entry.getValue();
        String origin = values.get(section.getKey() + "." + entry.getKey()).origin();
        yaml.append(String.format(Locale.ROOT, "%-44s # %s%n", line, origin));
      }
    }
    return yaml.toString();
  }

  private void requireComplete() {
    for (ConfigKey key : ConfigKeys.all()) {
      if (!values.containsKey(key.fullName())) {
        throw new IllegalArgumentException(
            "incomplete config: "
                + key.fullName()
                + " is missing, expected "
                + key.kind().expected()
                + "; set it, or start from a preset ("
                + String.join(", ", Presets.names())
                + ")");
      }
    }
  }

  /**
   * Adds the origin to a complaint that begins with a key: of that key, or of another one in the
   * sentence that a person has set more deliberately, such as a {@code --set} against a preset.
   */
  private IllegalArgumentException withOrigin(IllegalArgumentException complaint) {
    String message = complaint.getMessage();
    String subject = message.split("[ :]", 2)[0];
    String culprit = subject;
    ConfigValue origin = values.get(subject);
    if (origin != null) {
      String section = subject.substring(0, subject.indexOf('.') + 1);
      for (Matcher names = NAME.matcher(message); names.find(); ) {
        ConfigValue other = values.get(section + names.group());
        if (other != null && other.layer().compareTo(origin.layer()) > 0) {
          culprit = section + names.group();
          origin = other;
        }
      }
    }
    return new IllegalArgumentException(
        "impossible config: "
            + message
            + (origin == null
                ? ""
                : "; "
                    + (culprit.equals(subject) ? "it" : culprit)
                    + " comes from "
                    + origin.origin()),
        complaint);
  }
}
