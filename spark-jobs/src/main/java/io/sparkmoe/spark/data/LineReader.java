package io.sparkmoe.spark.data;

import com.fasterxml.jackson.databind.JsonNode;
import io.sparkmoe.data.JsonLine;
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
    String line = line(file, offsetBytes, bytes, length);
    if (line == null) {
      return null;
    }
    if (format == DocumentFormat.TEXT) {
      return new Tuple2<>(NO_SOURCE, line);
    }
    String place = place(file, offsetBytes);
    JsonNode object = object(place, line);
    String text = text(place, object, textColumn);
    String source = sourceColumn == null ? NO_SOURCE : source(place, object, sourceColumn);
    return text.isBlank() ? null : new Tuple2<>(source, text);
  }

  /** Where a line stands, as messages say it. */
  static String place(String file, long offsetBytes) {
    return file + ", line at byte " + offsetBytes;
  }

  /** The text of a line, null when it is blank; parameters as in {@link #read}. */
  static String line(String file, long offsetBytes, byte[] bytes, int length) {
    int end = length > 0 && bytes[length - 1] == '\r' ? length - 1 : length;
    String line = decode(file, offsetBytes, bytes, end);
    return line.isBlank() ? null : line;
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

  private static JsonNode object(String place, String line) {
    try {
      return JsonLine.parseObject(line, place);
    } catch (IllegalArgumentException e) {
      throw new BadInputException(e.getMessage());
    }
  }

  /** Empty for null. A number is no text: how it was written is not known. */
  private static String text(String place, JsonNode object, String column) {
    JsonNode value = value(place, object, column);
    if (!value.isNull() && !value.isTextual()) {
      throw unfit(place, column, value, "a string");
    }
    return value.asText("");
  }

  /** Empty for null; a number names a source as well as a text does. */
  private static String source(String place, JsonNode object, String column) {
    JsonNode value = value(place, object, column);
    if (!value.isValueNode()) {
      throw unfit(place, column, value, "a string or number");
    }
    return value.asText("");
  }

  private static JsonNode value(String place, JsonNode object, String column) {
    JsonNode value = object.get(column);
    if (value == null) {
      List<String> names = new ArrayList<>();
      object.fieldNames().forEachRemaining(names::add);
      throw new BadInputException(
          place + " has no column \"" + column + "\", it has " + names + "; name one of them");
    }
    return value;
  }

  private static BadInputException unfit(
      String place, String column, JsonNode value, String expected) {
    return new BadInputException(
        place
            + ": column \""
            + column
            + "\" is a JSON "
            + JsonLine.kind(value)
            + ", expected "
            + expected
            + "; correct it or name another column");
  }
}
