package io.sparkmoe.spark.data;

import io.sparkmoe.data.ChatMessage;
import io.sparkmoe.distill.DistillationRow;
import java.sql.Timestamp;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import scala.collection.Seq;

/** Distillation rows as Spark SQL sees them: one column per component, found by name. */
public final class DistillationRows {

  private static final StructType MESSAGE =
      new StructType()
          .add("role", DataTypes.StringType, false)
          .add("content", DataTypes.StringType, false);

  private static final ArrayType INTS = DataTypes.createArrayType(DataTypes.IntegerType, false);
  private static final ArrayType FLOATS = DataTypes.createArrayType(DataTypes.FloatType, false);

  /** The column that datasets of others, or of earlier versions, may lack. */
  private static final String TEMPLATE = "template_sha256";

  private static final StructType SCHEMA =
      new StructType()
          .add("id", DataTypes.StringType, false)
          .add("source", DataTypes.StringType, false)
          .add("prompt", DataTypes.StringType, true)
          .add("completion", DataTypes.StringType, false)
          .add("messages", DataTypes.createArrayType(MESSAGE, false), true)
          .add("prompt_ids", INTS, true)
          .add("completion_ids", INTS, true)
          .add("reasoning", DataTypes.StringType, true)
          .add("answer", DataTypes.StringType, false)
          .add("finish_reason", DataTypes.StringType, true)
          .add("teacher", DataTypes.StringType, false)
          .add("teacher_revision", DataTypes.StringType, true)
          .add("tokenizer_sha256", DataTypes.StringType, true)
          .add(TEMPLATE, DataTypes.StringType, true)
          .add("temperature", DataTypes.DoubleType, true)
          .add("top_p", DataTypes.DoubleType, true)
          .add("seed", DataTypes.LongType, true)
          .add("sampled_logprobs", FLOATS, true)
          .add("topk_ids", DataTypes.createArrayType(INTS, false), true)
          .add("topk_logprobs", DataTypes.createArrayType(FLOATS, false), true)
          .add("tail_logmass", FLOATS, true)
          .add("correct", DataTypes.BooleanType, true)
          .add("created_at", DataTypes.TimestampType, false);

  private DistillationRows() {}

  /** The columns, in the order they are written in. */
  public static StructType schema() {
    return SCHEMA;
  }

  /** Rows as a table. */
  public static Dataset<Row> toDataset(SparkSession spark, JavaRDD<DistillationRow> rows) {
    return spark.createDataFrame(rows.map(DistillationRows::toRow), SCHEMA);
  }

  /** Rows as a table. */
  public static Dataset<Row> toDataset(SparkSession spark, List<DistillationRow> rows) {
    return spark.createDataFrame(rows.stream().map(DistillationRows::toRow).toList(), SCHEMA);
  }

  /**
   * A table as rows.
   *
   * @throws BadInputException when a column is missing or of another type
   */
  public static JavaRDD<DistillationRow> fromDataset(Dataset<Row> table) {
    return select(table).javaRDD().map(DistillationRows::fromRow);
  }

  /**
   * Reads Parquet files or folders of distillation rows.
   *
   * @throws BadInputException when a column is missing or of another type
   */
  public static Dataset<Row> read(SparkSession spark, String... paths) {
    // A folder may hold answers of an earlier version, which wrote fewer columns.
    return select(spark.read().option("mergeSchema", true).parquet(paths));
  }

  /** The columns of the schema in its order; what else the table has is left out. */
  private static Dataset<Row> select(Dataset<Row> given) {
    Dataset<Row> table = given;
    if (!List.of(given.columns()).contains(TEMPLATE)) {
      table = given.withColumn(TEMPLATE, functions.lit(null).cast(DataTypes.StringType));
    }
    StructType actual = table.schema();
    for (String column : SCHEMA.fieldNames()) {
      String expected = SCHEMA.apply(column).dataType().simpleString();
      if (!List.of(actual.fieldNames()).contains(column)) {
        throw new BadInputException(
            "not a distillation dataset: it has no column "
                + column
                + ", expected "
                + expected
                + "; make it with moe teach");
      }
      if (!column.equals("messages")
          && !actual.apply(column).dataType().simpleString().equals(expected)) {
        throw new BadInputException(
            "not a distillation dataset: column "
                + column
                + " is "
                + actual.apply(column).dataType().simpleString()
                + ", expected "
                + expected
                + "; make it with moe teach");
      }
    }
    String[] names = SCHEMA.fieldNames();
    return table.select(names[0], Arrays.copyOfRange(names, 1, names.length));
  }

  /** A row as Spark takes it. */
  public static Row toRow(DistillationRow row) {
    return RowFactory.create(
        row.id(),
        row.source(),
        row.prompt(),
        row.completion(),
        messages(row.messages()),
        row.promptIds(),
        row.completionIds(),
        row.reasoning(),
        row.answer(),
        row.finishReason(),
        row.teacher(),
        row.teacherRevision(),
        row.tokenizerSha256(),
        row.templateSha256(),
        row.temperature(),
        row.topP(),
        row.seed(),
        row.sampledLogprobs(),
        row.topkIds(),
        row.topkLogprobs(),
        row.tailLogMass(),
        row.correct(),
        Timestamp.from(row.createdAt()));
  }

  /** The row behind a table's row; columns are found by name. */
  public static DistillationRow fromRow(Row row) {
    return DistillationRow.builder()
        .id(row.getAs("id"))
        .source(row.getAs("source"))
        .prompt(row.getAs("prompt"))
        .completion(row.getAs("completion"))
        .messages(messages(row.<Seq<Row>>getAs("messages")))
        .ids(
            row.getAs("tokenizer_sha256"),
            ints(row.getAs("prompt_ids")),
            ints(row.getAs("completion_ids")))
        .templateSha256(row.getAs(TEMPLATE))
        .reasoning(row.getAs("reasoning"))
        .answer(row.getAs("answer"))
        .finishReason(row.getAs("finish_reason"))
        .teacher(row.getAs("teacher"), row.getAs("teacher_revision"))
        .sampling(row.getAs("temperature"), row.getAs("top_p"), row.getAs("seed"))
        .sampledLogprobs(floats(row.getAs("sampled_logprobs")))
        .topk(
            rowsOfInts(row.getAs("topk_ids")),
            rowsOfFloats(row.getAs("topk_logprobs")),
            floats(row.getAs("tail_logmass")))
        .correct(row.getAs("correct"))
        .createdAt(row.<Timestamp>getAs("created_at").toInstant())
        .build();
  }

  private static Row[] messages(List<ChatMessage> messages) {
    return messages == null
        ? null
        : messages.stream()
            .map(message -> RowFactory.create(message.role(), message.content()))
            .toArray(Row[]::new);
  }

  /** Fields by name: data sets exist with both orders. */
  private static List<ChatMessage> messages(Seq<Row> messages) {
    if (messages == null) {
      return null;
    }
    List<ChatMessage> list = new ArrayList<>();
    for (int i = 0; i < messages.size(); i++) {
      Row message = messages.apply(i);
      list.add(new ChatMessage(message.getAs("role"), message.getAs("content")));
    }
    return list;
  }

  private static int[] ints(Seq<Integer> values) {
    if (values == null) {
      return null;
    }
    int[] array = new int[values.size()];
    for (int i = 0; i < array.length; i++) {
      array[i] = values.apply(i);
    }
    return array;
  }

  private static float[] floats(Seq<Float> values) {
    if (values == null) {
      return null;
    }
    float[] array = new float[values.size()];
    for (int i = 0; i < array.length; i++) {
      array[i] = values.apply(i);
    }
    return array;
  }

  private static int[][] rowsOfInts(Seq<Seq<Integer>> values) {
    if (values == null) {
      return null;
    }
    int[][] array = new int[values.size()][];
    for (int i = 0; i < array.length; i++) {
      array[i] = ints(values.apply(i));
    }
    return array;
  }

  private static float[][] rowsOfFloats(Seq<Seq<Float>> values) {
    if (values == null) {
      return null;
    }
    float[][] array = new float[values.size()][];
    for (int i = 0; i < array.length; i++) {
      array[i] = floats(values.apply(i));
    }
    return array;
  }
}
