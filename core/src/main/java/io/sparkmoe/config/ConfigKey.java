package io.sparkmoe.config;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.util.List;
import java.util.Locale;

/**
 * One key that a person may set.
 *
 * @param section "model", "train", "cluster" or "distill"
 * @param name inside its section
 * @param kind what values it takes
 * @param choices the words that a {@link Kind#CHOICE} takes
 * @param defaultValue built-in default; null when the key must be given or follows from others
 * @param description meaning and unit, one sentence
 * @param alsoKnownAs names that other programs have for it, for suggestions only
 */
public record ConfigKey(
    String section,
    String name,
    Kind kind,
    List<String> choices,
    JsonNode defaultValue,
    String description,
    List<String> alsoKnownAs) {

  /** What values a key takes. */
  public enum Kind {
    INTEGER("an integer"),
    /** An integer of 64 bits. */
    LONG("an integer"),
    NUMBER("a number"),
    BOOLEAN("true or false"),
    CHOICE("a choice"),
    /** A group of keys of its own, or null. */
    GROUP("a group of keys or null");

    private final String expected;

    Kind(String expected) {
      this.expected = expected;
    }

    /** The kind in a sentence. */
    public String expected() {
      return expected;
    }
  }

  /** Section and name, "train.lr". */
  public String fullName() {
    return section + "." + name;
  }

  /**
   * Brings a value from YAML or from a word on the command line to the key's kind.
   *
   * @param origin where the value comes from, for the message
   */
  JsonNode parse(JsonNode value, String origin) {
    JsonNodeFactory json = JsonNodeFactory.instance;
    JsonNode parsed =
        switch (kind) {
          case INTEGER -> {
            JsonNode whole = integer(value);
            yield whole != null && whole.canConvertToInt() ? whole : null;
          }
          case LONG -> integer(value);
          case NUMBER -> number(value);
          case BOOLEAN -> value.isBoolean() ? value : null;
          case CHOICE -> {
            String word = value.asText().toLowerCase(Locale.ROOT);
            yield choices.contains(word) ? json.textNode(word) : null;
          }
          case GROUP -> value.isObject() || value.isNull() ? value : null;
        };
    if (parsed == null) {
      String expected =
          switch (kind) {
            case CHOICE -> String.join(" or ", choices);
            case INTEGER -> kind.expected() + range(value, Integer.MIN_VALUE, Integer.MAX_VALUE);
            case LONG -> kind.expected() + range(value, Long.MIN_VALUE, Long.MAX_VALUE);
            default -> kind.expected();
          };
      String actual = value.isTextual() ? "'" + value.textValue() + "'" : value.toString();
      throw new IllegalArgumentException(
          "wrong value for "
              + fullName()
              + ": got "
              + actual
              + " from "
              + origin
              + ", expected "
              + expected
              + "; correct it there");
    }
    return parsed;
  }

  /** The range that a number is out of, where that is what is wrong with it. */
  private static String range(JsonNode value, long min, long max) {
    boolean outside = value.isNumber() && (value.doubleValue() < min || value.doubleValue() > max);
    return outside ? " from " + min + " to " + max : "";
  }

  private static JsonNode integer(JsonNode value) {
    if (value.isIntegralNumber() && value.canConvertToLong()) {
      return value;
    }
    JsonNode number = number(value);
    // 1e3 is a fine way to write a thousand.
    boolean whole =
        number != null
            && number.doubleValue() == Math.rint(number.doubleValue())
            && number.canConvertToLong();
    return whole ? JsonNodeFactory.instance.numberNode(number.longValue()) : null;
  }

  /**
   * Some spellings of numbers, such as ".5" or "1_000", are text to YAML; Java's are accepted too.
   */
  private static JsonNode number(JsonNode value) {
    if (value.isNumber()) {
      return Double.isFinite(value.doubleValue()) ? value : null;
    }
    if (!value.isTextual()) {
      return null;
    }
    try {
      double parsed = Double.parseDouble(value.textValue());
      return Double.isFinite(parsed) ? JsonNodeFactory.instance.numberNode(parsed) : null;
    } catch (NumberFormatException e) {
      return null;
    }
  }
}
