package io.sparkmoe.config;

import com.fasterxml.jackson.databind.JsonNode;

/**
 * A key's value and where it comes from.
 *
 * @param value of the key's kind
 * @param layer which kind of source it comes from
 * @param origin that source in words: "default", "preset tiny", "train.yaml", "--set train.lr"
 */
public record ConfigValue(JsonNode value, Layer layer, String origin) {

  /** Sources, weakest first. */
  public enum Layer {
    DEFAULT,
    PRESET,
    /** Follows from the data, such as the vocabulary. */
    DATA,
    FILE,
    CONF,
    SET,
    OPTION
  }

  /** Whether a person has written the value for this run. */
  boolean isExplicit() {
    return layer.compareTo(Layer.FILE) >= 0;
  }
}
