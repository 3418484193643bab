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
 * Turns a record of a file, the bytes between two delimiters of its {@link DocumentFormat}, into a
 * document, and refuses bytes that are not UTF-8 text with the place where they are.
 */
final class RecordParser implements Serializable {

  private static final String NO_SOURCE = "";

  private final DocumentFormat format;
  private final String textColumn;
  private final String sourceColumn;

  /**
   * @param sourceColumn JSON key of the source, null for none
   */
  RecordParser(DocumentFormat format, String textColumn, String sourceColumn) {
    this.format = format;
    this.textColumn = textColumn;
    this.sourceColumn = sourceColumn;
  }

  /**
   * The document in a record.
   *
   * @param file named in errors
   * @param offsetBytes where the record begins
   * @param bytes of the record, valid up to length
   * @return (source, text), or null when the record holds none
   */
  Tuple2<String, String> document(String file, long offsetBytes, byte[] bytes, int length) {
    String record = text(file, offsetBytes, bytes, length);
    if (record == null) {
      return null;
    }
    if (format != DocumentFormat.JSONL) {
      return new Tuple2<>(NO_SOURCE, record);
    }
    String place = place(file, offsetBytes);
    JsonNode object = object(place, record);
    String text = text(place, object, textColumn);
    String source = sourceColumn == null ? NO_SOURCE : source(place, object, sourceColumn);
    return text.isBlank() ? null : new Tuple2<>(source, text);
  }

  /** Where a record stands, as messages say it. */
  String place(String file, long offsetBytes) {
    String kind = format == DocumentFormat.PARAGRAPHS ? "paragraph" : "line";
    return file + ", " + kind + " at byte " + offsetBytes;
  }

  /** The text of a record, null when it is blank; parameters as in {@link #document}. */
  String text(String file, long offsetBytes, byte[] bytes, int length) {
    int end = length > 0 && bytes[length - 1] == '\r' ? length - 1 : length;
    String text = decode(file, offsetBytes, bytes, end);
    if (text.isBlank()) {
      return null;
    }
    return format == DocumentFormat.PARAGRAPHS ? paragraph(file, offsetBytes, text) : text;
  }

  /** Without the line ends around it, of which there are some where several lines are empty. */
  private String paragraph(String file, long offsetBytes, String text) {
    if (text.contains("\n\r\n")) {
      throw new BadInputException(
          place(file, offsetBytes)
              + " has an empty line that ends in \\r\\n, expected \\n; convert the file first, for"
              + " example with dos2unix");
    }
    return text.replaceFirst("^\n+", "").replaceFirst("\n+$", "");
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
