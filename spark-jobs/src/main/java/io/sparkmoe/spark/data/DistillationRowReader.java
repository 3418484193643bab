package io.sparkmoe.spark.data;

import io.sparkmoe.data.ChatMessage;
import io.sparkmoe.distill.DistillationRow;
import java.io.IOException;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import java.util.function.Function;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.NanoTime;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.apache.parquet.schema.PrimitiveType.PrimitiveTypeName;

/**
 * Reads distillation rows from one Parquet file without a Spark session. Columns are found by name;
 * one that is missing reads as null.
 */
final class DistillationRowReader {

  /** Day of 1970-01-01 in Parquet's INT96 timestamps. */
  private static final long JULIAN_EPOCH_DAY = 2_440_588;

  private static final long SECONDS_OF_DAY = 86_400;

  private DistillationRowReader() {}

  /**
   * Gives the rows of a file in its order.
   *
   * @throws BadInputException naming the file, when it cannot be read as distillation rows
   */
  static void read(Path file, Configuration configuration, Consumer<DistillationRow> rows)
      throws IOException {
    try (ParquetReader<Group> reader =
        ParquetReader.builder(new GroupReadSupport(), file).withConf(configuration).build()) {
      for (Group group = read(reader, file); group != null; group = read(reader, file)) {
        rows.accept(row(group, file));
      }
    }
  }

  private static Group read(ParquetReader<Group> reader, Path file) throws IOException {
    try {
      return reader.read();
    } catch (IOException | RuntimeException e) {
      throw unreadable(file, e);
    }
  }

  private static DistillationRow row(Group group, Path file) {
    try {
      return row(group);
    } catch (RuntimeException e) {
      throw unreadable(file, e);
    }
  }

  private static BadInputException unreadable(Path file, Exception cause) {
    return new BadInputException(
        file
            + " cannot be read as distillation rows: "
            + cause.getMessage()
            + "; make it with moe teach",
        cause);
  }

  private static DistillationRow row(Group group) {
    return DistillationRow.builder()
        .id(text(group, "id"))
        .source(text(group, "source"))
        .prompt(text(group, "prompt"))
        .completion(text(group, "completion"))
        .messages(messages(group))
        .ids(
            text(group, "tokenizer_sha256"),
            ints(group, "prompt_ids"),
            ints(group, "completion_ids"))
        .templateSha256(text(group, "template_sha256"))
        .reasoning(text(group, "reasoning"))
        .answer(text(group, "answer"))
        .finishReason(text(group, "finish_reason"))
        .teacher(text(group, "teacher"), text(group, "teacher_revision"))
        .sampling(
            value(group, "temperature", group::getDouble),
            value(group, "top_p", group::getDouble),
            value(group, "seed", group::getLong))
        .sampledLogprobs(floats(group, "sampled_logprobs"))
        .topk(
            elements(group, "topk_ids", DistillationRowReader::ints, new int[0][]),
            elements(group, "topk_logprobs", DistillationRowReader::floats, new float[0][]),
            floats(group, "tail_logmass"))
        .correct(value(group, "correct", group::getBoolean))
        .createdAt(createdAt(group))
        .build();
  }

  private static <T> T value(Group group, String column, BiFunction<String, Integer, T> get) {
    boolean present =
        group.getType().containsField(column) && group.getFieldRepetitionCount(column) > 0;
    return present ? get.apply(column, 0) : null;
  }

  private static String text(Group group, String column) {
    return value(group, column, group::getString);
  }

  private static int[] ints(Group group, String column) {
    Group list = value(group, column, group::getGroup);
    return list == null ? null : ints(list);
  }

  private static float[] floats(Group group, String column) {
    Group list = value(group, column, group::getGroup);
    return list == null ? null : floats(list);
  }

  /** LIST in Parquet's three levels: the column, the repeated group, the element. */
  private static int[] ints(Group list) {
    int[] values = new int[list.getFieldRepetitionCount(0)];
    for (int i = 0; i < values.length; i++) {
      values[i] = list.getGroup(0, i).getInteger(0, 0);
    }
    return values;
  }

  private static float[] floats(Group list) {
    float[] values = new float[list.getFieldRepetitionCount(0)];
    for (int i = 0; i < values.length; i++) {
      values[i] = list.getGroup(0, i).getFloat(0, 0);
    }
    return values;
  }

  private static <T> T[] elements(
      Group group, String column, Function<Group, T> element, T[] type) {
    Group list = value(group, column, group::getGroup);
    if (list == null) {
      return null;
    }
    List<T> values = new ArrayList<>();
    for (int i = 0; i < list.getFieldRepetitionCount(0); i++) {
      values.add(element.apply(list.getGroup(0, i).getGroup(0, 0)));
    }
    return values.toArray(type);
  }

  private static List<ChatMessage> messages(Group group) {
    Group list = value(group, "messages", group::getGroup);
    if (list == null) {
      return null;
    }
    List<ChatMessage> messages = new ArrayList<>();
    for (int i = 0; i < list.getFieldRepetitionCount(0); i++) {
      Group message = list.getGroup(0, i).getGroup(0, 0);
      messages.add(new ChatMessage(text(message, "role"), text(message, "content")));
    }
    return messages;
  }

  /** Microseconds, or the INT96 that Spark writes unless told otherwise. */
  private static Instant createdAt(Group group) {
    String column = "created_at";
    PrimitiveTypeName type =
        group.getType().getType(column).asPrimitiveType().getPrimitiveTypeName();
    if (type == PrimitiveTypeName.INT64) {
      return Instant.EPOCH.plus(group.getLong(column, 0), ChronoUnit.MICROS);
    }
    NanoTime time = NanoTime.fromBinary(group.getInt96(column, 0));
    return Instant.ofEpochSecond(
        (time.getJulianDay() - JULIAN_EPOCH_DAY) * SECONDS_OF_DAY, time.getTimeOfDayNanos());
  }
}
