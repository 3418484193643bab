package io.sparkmoe.spark.data;

import java.io.IOException;
import java.io.InputStream;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.LongWritable;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.lib.input.FileInputFormat;
import org.apache.hadoop.mapreduce.lib.input.FileSplit;
import org.apache.hadoop.mapreduce.lib.input.TextInputFormat;
import org.apache.spark.api.java.JavaNewHadoopRDD;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.DataTypes;
import scala.Tuple2;

/**
 * Reads documents from files, each with the place where it stands, which gives them one order
 * however they are read.
 */
public final class DocumentReader {

  private static final long MIN_SPLIT_BYTES = 1 << 20;
  private static final long MAX_SPLIT_BYTES = 128 << 20;

  private final SparkSession spark;
  private final JavaSparkContext context;
  private final DocumentFormat format;
  private final String textColumn;
  private final String sourceColumn;

  /**
   * @param textColumn column of the text; without meaning for text
   * @param sourceColumn column of the source, null for none
   */
  public DocumentReader(
      SparkSession spark, DocumentFormat format, String textColumn, String sourceColumn) {
    this.spark = spark;
    this.context = JavaSparkContext.fromSparkContext(spark.sparkContext());
    this.format = format;
    this.textColumn = textColumn;
    this.sourceColumn = sourceColumn;
  }

  /**
   * The documents of the inputs, blank ones left out.
   *
   * @return (place, (source, text)); ascending places are the documents' order: by path of the
   *     file, then by place in it
   */
  public JavaPairRDD<Long, Tuple2<String, String>> read(List<String> inputs) throws IOException {
    InputFiles files = InputFiles.list(inputs, context.hadoopConfiguration());
    return format == DocumentFormat.PARQUET ? readParquet(files) : readRecords(files);
  }

  /**
   * What stands between the delimiters of text files, blank pieces left out, in no promised order.
   *
   * @return (place as messages say it, text)
   */
  public JavaPairRDD<String, String> records(List<String> inputs) throws IOException {
    RecordParser parser = new RecordParser(format, textColumn, sourceColumn);
    return JavaPairRDD.fromJavaRDD(
        records(
            InputFiles.list(inputs, context.hadoopConfiguration()),
            (file, fileIndex, offset, bytes) -> {
              String text = parser.text(file, offset, bytes.getBytes(), bytes.getLength());
              return text == null ? null : new Tuple2<>(parser.place(file, offset), text);
            }));
  }

  private JavaPairRDD<Long, Tuple2<String, String>> readRecords(InputFiles files)
      throws IOException {
    RecordParser parser = new RecordParser(format, textColumn, sourceColumn);
    return JavaPairRDD.fromJavaRDD(
        records(
            files,
            (file, fileIndex, offset, bytes) -> {
              Tuple2<String, String> document =
                  parser.document(file, offset, bytes.getBytes(), bytes.getLength());
              return document == null
                  ? null
                  : new Tuple2<>(SortKey.of(fileIndex, offset), document);
            }));
  }

  /** What becomes of a record, null = nothing is in it. */
  @FunctionalInterface
  private interface RecordFunction<T> extends Serializable {
    T apply(String file, int fileIndex, long offsetBytes, Text bytes);
  }

  private <T> JavaRDD<T> records(InputFiles files, RecordFunction<T> function) throws IOException {
    Job job = Job.getInstance(context.hadoopConfiguration());
    FileInputFormat.setInputPaths(
        job, Arrays.stream(files.patterns()).map(Path::new).toArray(Path[]::new));
    long wanted = files.totalBytes() / (4L * context.defaultParallelism());
    FileInputFormat.setMaxInputSplitSize(
        job, Math.max(MIN_SPLIT_BYTES, Math.min(MAX_SPLIT_BYTES, wanted)));
    Configuration configuration = job.getConfiguration();
    // Hadoop's default would also cut at a lone carriage return.
    configuration.set("textinputformat.record.delimiter", format.delimiter());
    JavaNewHadoopRDD<LongWritable, Text> records =
        (JavaNewHadoopRDD<LongWritable, Text>)
            context.newAPIHadoopRDD(
                configuration, TextInputFormat.class, LongWritable.class, Text.class);
    List<String> names = files.names();
    return records.mapPartitionsWithInputSplit(
        (split, inSplit) -> {
          String file = ((FileSplit) split).getPath().toString();
          return results(function, file, names.indexOf(file), inSplit);
        },
        true);
  }

  private static <T> Iterator<T> results(
      RecordFunction<T> function,
      String file,
      int fileIndex,
      Iterator<Tuple2<LongWritable, Text>> records) {
    return new NonNullIterator<>() {
      @Override
      protected boolean hasSource() {
        return records.hasNext();
      }

      @Override
      protected T nextOrNull() {
        Tuple2<LongWritable, Text> record = records.next();
        return function.apply(file, fileIndex, record._1.get(), record._2);
      }
    };
  }

  private JavaPairRDD<Long, Tuple2<String, String>> readParquet(InputFiles files)
      throws IOException {
    requireParquet(files);
    Dataset<Row> rows = spark.read().parquet(files.patterns());
    Column source =
        sourceColumn == null ? null : column(rows, sourceColumn).cast(DataTypes.StringType);
    List<Column> columns = new ArrayList<>();
    columns.add(rows.col("_metadata.file_path"));
    columns.add(rows.col("_metadata.row_index"));
    Column text = column(rows, textColumn);
    if (!rows.select(text).schema().apply(0).dataType().equals(DataTypes.StringType)) {
      throw new BadInputException(
          "column \""
              + textColumn
              + "\" is "
              + rows.select(text).schema().apply(0).dataType().sql()
              + ", expected STRING; name another with --text-column");
    }
    columns.add(text);
    if (source != null) {
      columns.add(source);
    }
    Map<String, Integer> indexOf = new HashMap<>();
    for (int i = 0; i < files.paths().size(); i++) {
      // Spark writes the path as it is or as a URI, by version; the URI of the path's own text, as
      // a listed one's may begin with file:/// where that begins with file:/.
      String path = files.paths().get(i).toString();
      indexOf.put(path, i);
      indexOf.put(new Path(path).toUri().toString(), i);
    }
    boolean hasSource = source != null;
    return rows.select(columns.toArray(Column[]::new))
        .javaRDD()
        .filter(row -> !row.isNullAt(2) && !row.getString(2).isBlank())
        .mapToPair(
            row ->
                new Tuple2<>(
                    SortKey.of(indexOf.get(row.getString(0)), row.getLong(1)),
                    new Tuple2<>(
                        hasSource && !row.isNullAt(3) ? row.getString(3) : "", row.getString(2))));
  }

  private static Column column(Dataset<Row> rows, String name) {
    if (!Arrays.asList(rows.columns()).contains(name)) {
      throw new BadInputException(
          "input has no column \""
              + name
              + "\", it has "
              + Arrays.toString(rows.columns())
              + "; name one of them");
    }
    return rows.col("`" + name + "`");
  }

  private void requireParquet(InputFiles files) throws IOException {
    byte[] magic = "PAR1".getBytes(StandardCharsets.US_ASCII);
    for (Path path : files.paths()) {
      try (InputStream in = path.getFileSystem(context.hadoopConfiguration()).open(path)) {
        if (!Arrays.equals(in.readNBytes(magic.length), magic)) {
          throw new BadInputException(path + " is not a Parquet file; check --format");
        }
      }
    }
  }
}
