package io.sparkmoe.config;

import com.fasterxml.jackson.databind.JsonNode;

/** The table of all keys for people to read, core/docs/config.md. */
public final class ConfigTable {

  private ConfigTable() {}

  /** The table as Markdown. */
  public static String markdown() {
    StringBuilder text =
        new StringBuilder(
            """
            # Configuration keys

            Generated from `io.sparkmoe.config.ConfigKeys`; do not edit. Later sources win: built-in default, preset or
            `--config FILE`, `spark.moe.*` conf, `--set key=value`. The model's keys are those of Hugging Face's DeepseekV3
            `config.json`, which can be pasted whole.
            """);
    String section = "";
    for (ConfigKey key : ConfigKeys.all()) {
      if (!key.section().equals(section)) {
        section = key.section();
        text.append("\n## ")
            .append(section)
            .append("\n\n| key | values | default | meaning |\n|---|---|---|---|\n");
      }
      text.append("| `").append(key.name()).append("` | ").append(values(key)).append(" | ");
      text.append(defaultOf(key.defaultValue()))
          .append(" | ")
          .append(key.description())
          .append(" |\n");
    }
    return text.toString();
  }

  private static String values(ConfigKey key) {
    return switch (key.kind()) {
      case INTEGER, LONG -> "integer";
      case NUMBER -> "number";
      case BOOLEAN -> "true, false";
      case CHOICE -> String.join(", ", key.choices());
      case GROUP -> "group or null";
    };
  }

  private static String defaultOf(JsonNode value) {
    return value == null ? "" : "`" + value.asText() + "`";
  }
}
