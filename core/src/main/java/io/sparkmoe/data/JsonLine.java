package io.sparkmoe.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.exc.MismatchedInputException;
import java.util.Locale;

/** A line of a JSONL file: one JSON value and nothing behind it. */
public final class JsonLine {

  private static final ObjectMapper JSON =
      new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private JsonLine() {}

  /**
   * Reads a line.
   *
   * @param place named in errors
   * @throws IllegalArgumentException when it is not one JSON value
   */
  public static JsonNode parse(String line, String place) {
    try {
      return JSON.readTree(line);
    } catch (MismatchedInputException e) {
      throw new IllegalArgumentException(
          place + " goes on after its JSON value, expected one value a line; part them", e);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(
          place + " is not JSON (" + e.getOriginalMessage() + "); check --format", e);
    }
  }

  /**
   * Reads a line that holds an object.
   *
   * @param place named in errors
   * @throws IllegalArgumentException when it is not one JSON object
   */
  public static JsonNode parseObject(String line, String place) {
    JsonNode object = parse(line, place);
    if (!object.isObject()) {
      throw new IllegalArgumentException(
          place + " is a JSON " + kind(object) + ", expected an object; check --format");
    }
    return object;
  }

  /** What kind of value it is, for messages. */
  public static String kind(JsonNode value) {
    return value.getNodeType().toString().toLowerCase(Locale.ROOT);
  }
}
