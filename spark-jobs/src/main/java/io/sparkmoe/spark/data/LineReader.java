package io.sparkmoe.spark.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.Serializable;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import scala.Tuple2;

/**
 * Turns a line of a file into a document, and refuses bytes that are not UTF-8 text with the place
 * where they are.
 */
final class LineReader implements Serializable {

  private static final String NO_SOURCE = "";

  private final DocumentFormat format;
  private final String textColumn;
  private final String sourceColumn;
  private final ObjectMapper mapper = new ObjectMapper();

  /**
   * @param sourceColumn JSON key of the source, null for none
   */
  LineReader(DocumentFormat format, String textColumn, String sourceColumn) {
    this.format = format;
    this.textColumn = textColumn;
    this.sourceColumn = sourceColumn;
  }

  /**
   * The document in a line.
   *
   * @param file named in errors
   * @param offsetBytes where the line begins
   * @param bytes of the line, valid up to length
   * @return (source, text), or null when the line holds none
   */
  Tuple2<String, String> read(String file, long offsetBytes, byte[] bytes, int length) {
    int end = length > 0 && bytes[length - 1] == '\r' ? length - 1 : length;
    String line = decode(file, offsetBytes, bytes, end);
    if (line.isBlank()) {
      return null;
    }
    if (format == DocumentFormat.TEXT) {
      return new Tuple2<>(NO_SOURCE, line);
    }
    String place = file + ", line at byte " + offsetBytes;
    JsonNode object = parse(place, line);
    String text = string(place, object, textColumn);
    String source = sourceColumn == null ? NO_SOURCE : string(place, object, sourceColumn);
    return text.isBlank() ? null : new Tuple2<>(source, text);
  }

  private static String decode(String file, long offsetBytes, byte[] bytes, int length) {
    for (int i = 0; i < length; i++) {
      if (bytes[i] == 0) {
        throw new BadInputException(
            file
                + " is binary: byte "
                + (offsetBytes + i)
                + " is 0x00, expected UTF-8 text; check --format");
      }
    }
    CharsetDecoder decoder =
        StandardCharsets.UTF_8
            .newDecoder()
            .onMalformedInput(CodingErrorAction.REPORT)
            .onUnmappableCharacter(CodingErrorAction.REPORT);
    ByteBuffer in = ByteBuffer.wrap(bytes, 0, length);
    CharBuffer out = CharBuffer.allocate(length);
    CoderResult result = decoder.decode(in, out, true);
    if (result.isError()) {
      throw new BadInputException(
          String.format(
              Locale.ROOT,
              "%s is not UTF-8: byte %d is 0x%02X; convert it to UTF-8 first",
              file,
              offsetBytes + in.position(),
              bytes[in.position()]));
    }
    return out.flip().toString();
  }

  private JsonNode parse(String place, String line) {
    JsonNode object;
    try {
      object = mapper.readTree(line);
    } catch (JsonProcessingException e) {
      throw new BadInputException(
          place + " is not JSON (" + e.getOriginalMessage() + "); check --format");
    }
    if (!object.isObject()) {
      throw new BadInputException(
          place
              + " is a JSON "
              + object.getNodeType().toString().toLowerCase(Locale.ROOT)
              + ", expected an object");
    }
    return object;
  }

  private static String string(String place, JsonNode object, String column) {
    JsonNode value = object.get(column);
    if (value == null) {
      List<String> names = new ArrayList<>();
      object.fieldNames().forEachRemaining(names::add);
      throw new BadInputException(
          place + " has no column \"" + column + "\", it has " + names + "; name one of them");
    }
    if (value.isNull()) {
      return "";
    }
    if (!value.isValueNode()) {
      throw new BadInputException(
          place
              + ": column \""
              + column
              + "\" is a JSON "
              + value.getNodeType().toString().toLowerCase(Locale.ROOT)
              + ", expected a string");
    }
    return value.asText();
  }
}
