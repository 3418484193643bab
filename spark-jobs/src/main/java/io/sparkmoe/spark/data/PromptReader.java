package io.sparkmoe.spark.data;

import com.fasterxml.jackson.databind.JsonNode;
import io.sparkmoe.data.JsonLine;
import io.sparkmoe.distill.Prompt;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.StringJoiner;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.api.java.function.MapFunction;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/** Reads what a teacher is to be asked: prompts from text, JSONL or Parquet, or whole texts. */
public final class PromptReader {

  private static final List<String> COLUMNS = List.of("prompt", "messages", "completion", "source");

  private static final String TEXT_COLUMN = "text";

  /** What some editors begin a file with; it is no part of the text. */
  private static final String BYTE_ORDER_MARK = "\uFEFF";

  private final SparkSession spark;
  private final JavaSparkContext context;

  public PromptReader(SparkSession spark) {
    this.spark = spark;
    this.context = JavaSparkContext.fromSparkContext(spark.sparkContext());
  }

  /**
   * Looks for files without a Spark session, which takes seconds to start.
   *
   * @throws BadInputException when one is missing or all are empty
   */
  public static void requireFiles(List<String> inputs, Configuration hadoop) throws IOException {
    InputFiles.list(inputs, hadoop);
  }

  /** Prompts as lines of {@link Prompt#toJson}; blank ones are left out. */
  public JavaRDD<String> prompts(List<String> inputs, DocumentFormat format) throws IOException {
    return switch (format) {
      case TEXT, PARAGRAPHS ->
          records(inputs, format).values().map(text -> Prompt.ofText(text).toJson());
      case JSONL ->
          records(inputs, format)
              .map(line -> normalised(line._2, line._1))
              .filter(Objects::nonNull);
      case PARQUET -> parquet(inputs);
    };
  }

  /** Whole texts: each file of text, or each document of other formats (column "text"). */
  public JavaRDD<String> texts(List<String> inputs, DocumentFormat format) throws IOException {
    if (format == DocumentFormat.TEXT) {
      InputFiles files = InputFiles.list(inputs, context.hadoopConfiguration());
      return spark
          .read()
          .option("wholetext", true)
          .text(files.patterns())
          .javaRDD()
          .map(file -> withoutMark(file.getString(0)));
    }
    return new DocumentReader(spark, format, TEXT_COLUMN, null)
        .read(inputs)
        .values()
        .map(document -> document._2);
  }

  private static String withoutMark(String text) {
    return text.startsWith(BYTE_ORDER_MARK) ? text.substring(BYTE_ORDER_MARK.length()) : text;
  }

  /**
   * Everything that the inputs say, a line or row at a time, for comparison with other text: of
   * JSON and of tables all texts, wherever they stand.
   */
  public JavaRDD<String> everyText(List<String> inputs, DocumentFormat format) throws IOException {
    return switch (format) {
      case TEXT, PARAGRAPHS -> records(inputs, format).values();
      case JSONL -> records(inputs, format).map(line -> textsIn(line._2, line._1));
      case PARQUET -> rows(inputs).toJSON().javaRDD().map(row -> textsIn(row, "row"));
    };
  }

  private static String textsIn(String line, String place) {
    try {
      StringJoiner texts = new StringJoiner("\n");
      addTexts(JsonLine.parse(line, place), texts);
      return texts.toString();
    } catch (IllegalArgumentException e) {
      throw new BadInputException(e.getMessage());
    }
  }

  private static void addTexts(JsonNode value, StringJoiner texts) {
    if (value.isTextual()) {
      texts.add(value.asText());
    }
    value.elements().forEachRemaining(part -> addTexts(part, texts));
  }

  private JavaPairRDD<String, String> records(List<String> inputs, DocumentFormat format)
      throws IOException {
    return new DocumentReader(spark, format, TEXT_COLUMN, null).records(inputs);
  }

  private Dataset<Row> rows(List<String> inputs) throws IOException {
    return spark.read().parquet(InputFiles.list(inputs, context.hadoopConfiguration()).patterns());
  }

  private JavaRDD<String> parquet(List<String> inputs) throws IOException {
    Dataset<Row> rows = rows(inputs);
    List<String> present = Arrays.asList(rows.columns());
    List<String> columns = COLUMNS.stream().filter(present::contains).toList();
    if (!columns.contains("prompt") && !columns.contains("messages")) {
      throw new BadInputException(
          "prompts have no column prompt or messages: they have "
              + present
              + ", expected one of the two; rename one");
    }
    return rows.select(columns.stream().map(rows::col).toArray(Column[]::new))
        .toJSON()
        .map((MapFunction<String, String>) PromptReader::normalisedOrEmpty, Encoders.STRING())
        .javaRDD()
        .filter(line -> !line.isEmpty());
  }

  private static String normalisedOrEmpty(String row) {
    String begin = row.length() > 60 ? row.substring(0, 60) + "..." : row;
    String json = normalised(row, "prompt row \"" + begin + "\"");
    return json == null ? "" : json;
  }

  /** Null for a blank prompt. */
  private static String normalised(String line, String place) {
    try {
      Prompt prompt = Prompt.fromJson(line, place);
      return prompt == null ? null : prompt.toJson();
    } catch (IllegalArgumentException e) {
      throw new BadInputException(e.getMessage());
    }
  }
}
