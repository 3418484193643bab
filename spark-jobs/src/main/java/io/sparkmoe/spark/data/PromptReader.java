package io.sparkmoe.spark.data;

import io.sparkmoe.distill.Prompt;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
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

  private final SparkSession spark;
  private final JavaSparkContext context;

  public PromptReader(SparkSession spark) {
    this.spark = spark;
    this.context = JavaSparkContext.fromSparkContext(spark.sparkContext());
  }

  /** Prompts as lines of {@link Prompt#toJson}; blank ones are left out. */
  public JavaRDD<String> prompts(List<String> inputs, DocumentFormat format) throws IOException {
    return switch (format) {
      case TEXT -> lines(inputs).map(line -> Prompt.ofText(line).toJson());
      case JSONL -> lines(inputs).map(PromptReader::normalised).filter(Objects::nonNull);
      case PARQUET -> parquet(inputs);
    };
  }

  /** Whole texts: each file of text, or each document of the others' column "text". */
  public JavaRDD<String> texts(List<String> inputs, DocumentFormat format) throws IOException {
    if (format == DocumentFormat.TEXT) {
      InputFiles files = InputFiles.list(inputs, context.hadoopConfiguration());
      return context.wholeTextFiles(String.join(",", files.names())).values();
    }
    return new DocumentReader(spark, format, TEXT_COLUMN, null)
        .read(inputs)
        .values()
        .map(document -> document._2);
  }

  /** Everything that the inputs say, a line or row at a time, for comparison with other text. */
  public JavaRDD<String> lines(List<String> inputs, DocumentFormat format) throws IOException {
    if (format != DocumentFormat.PARQUET) {
      return lines(inputs);
    }
    InputFiles files = InputFiles.list(inputs, context.hadoopConfiguration());
    return spark.read().parquet(files.names().toArray(String[]::new)).toJSON().javaRDD();
  }

  private JavaRDD<String> lines(List<String> inputs) throws IOException {
    return new DocumentReader(spark, DocumentFormat.TEXT, TEXT_COLUMN, null)
        .read(inputs)
        .values()
        .map(document -> document._2);
  }

  private JavaRDD<String> parquet(List<String> inputs) throws IOException {
    InputFiles files = InputFiles.list(inputs, context.hadoopConfiguration());
    Dataset<Row> rows = spark.read().parquet(files.names().toArray(String[]::new));
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

  private static String normalisedOrEmpty(String line) {
    String json = normalised(line);
    return json == null ? "" : json;
  }

  /** Null for a blank prompt. */
  private static String normalised(String line) {
    String begin = line.length() > 60 ? line.substring(0, 60) + "..." : line;
    try {
      Prompt prompt = Prompt.fromJson(line, "prompt line \"" + begin + "\"");
      return prompt == null ? null : prompt.toJson();
    } catch (IllegalArgumentException e) {
      throw new BadInputException(e.getMessage());
    }
  }
}
