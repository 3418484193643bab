package io.sparkmoe.spark.data;

import io.sparkmoe.data.PositionedRow;
import io.sparkmoe.data.RowOrder;
import io.sparkmoe.data.RowPiece;
import io.sparkmoe.data.TeacherColumns;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.data.Tokenizers;
import io.sparkmoe.distill.DistillationInfo;
import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.distill.student.StudentRows;
import io.sparkmoe.distill.student.StudentSequence;
import io.sparkmoe.train.DataIdentity;
import io.sparkmoe.train.DistillConfig;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.stream.StreamSupport;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.spark.Partitioner;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.util.SerializableConfiguration;
import scala.Tuple2;

/**
 * Distillation rows in Parquet, packed for a student: the files of a folder, or of its {@code
 * data/}, where {@code moe teach} writes them and commits them by {@code distillation.json}.
 */
public final class DistillationDataset implements TrainingRows {

  private static final String DATA_FOLDER = "data";

  private final HadoopStore store;
  private final Configuration configuration;
  private final List<String> files;
  private final String tokenizerJson;
  private final DataIdentity identity;
  private final int vocabSize;
  private final int endOfTextId;
  private final int seqLen;
  private final StudentRows rows;

  private DistillationDataset(
      HadoopStore store,
      Configuration configuration,
      List<String> files,
      Tokenizer tokenizer,
      int seqLen,
      DataIdentity identity,
      StudentRows rows) {
    this.store = store;
    this.configuration = configuration;
    this.files = files;
    this.tokenizerJson = tokenizer.toJson();
    this.identity = identity;
    this.vocabSize = tokenizer.vocabSize();
    this.endOfTextId = tokenizer.endOfTextId();
    this.seqLen = seqLen;
    this.rows = rows;
  }

  /** Parquet files of a folder, found before anything is read. */
  public static final class Folder {
    private final HadoopStore store;
    private final Configuration configuration;
    private final List<String> files;

    /**
     * @param location folder, with or without a scheme
     * @throws IllegalArgumentException when it holds no distillation rows, or not yet all
     */
    public Folder(String location, Configuration configuration) throws IOException {
      this.store = new HadoopStore(location, configuration);
      this.configuration = configuration;
      if (store.exists(TokenDataset.DATASET_JSON)) {
        throw new IllegalArgumentException(
            "--data "
                + location
                + " holds token rows without a teacher, expected distillation rows; use moe train,"
                + " or make them with moe teach");
      }
      List<String> own = parquet("");
      this.files = own.isEmpty() ? parquet(DATA_FOLDER) : own;
      if (files.isEmpty()) {
        throw new IllegalArgumentException(
            "--data "
                + location
                + " holds no Parquet files, expected distillation rows; make them with moe teach");
      }
      if (own.isEmpty() && !store.exists(DistillationInfo.FILE)) {
        throw new IllegalArgumentException(
            "--data "
                + location
                + " holds rows under data/ without "
                + DistillationInfo.FILE
                + ", expected a dataset that was written to its end; run moe teach again, or name"
                + " the folder data itself when another program wrote it");
      }
    }

    private List<String> parquet(String folder) throws IOException {
      String prefix = folder.isEmpty() ? "" : folder + "/";
      return store.list(folder).stream()
          .filter(name -> name.endsWith(".parquet"))
          .sorted()
          .map(name -> store.location() + "/" + prefix + name)
          .toList();
    }

    /**
     * The tokenizer that the folder's rows were made with.
     *
     * @throws IllegalArgumentException when the folder has none
     */
    public Tokenizer tokenizer() throws IOException {
      if (!store.exists(TokenDataset.TOKENIZER_JSON)) {
        throw new IllegalArgumentException(
            "--data "
                + store.location()
                + " has no "
                + TokenDataset.TOKENIZER_JSON
                + " beside its rows, expected the student's tokenizer; give --tokenizer byte or"
                + " FILE");
      }
      return Tokenizers.fromJson(store.readText(TokenDataset.TOKENIZER_JSON));
    }

    /**
     * Reads all rows once and checks that a student can learn from them.
     *
     * @param tokenizer of the student
     * @param seqLen inputs of a packed row
     * @param validationShare share of the rows to hold out
     * @throws IllegalArgumentException in one sentence
     */
    public DistillationDataset open(
        Tokenizer tokenizer, int seqLen, double validationShare, DistillConfig distill)
        throws IOException {
      StudentRows rows =
          new StudentRows(store.location(), tokenizer, seqLen, validationShare, distill);
      for (String file : files) {
        DistillationRowReader.read(new Path(file), configuration, row -> rows.add(row, tokenizer));
      }
      rows.close();
      DataIdentity identity =
          DataIdentity.of(tokenizer.sha256(), description(rows)).withHeldOutShare(validationShare);
      return new DistillationDataset(
          store, configuration, files, tokenizer, seqLen, identity, rows);
    }

    /**
     * What tells the rows from others; those of another program may lie without a file about them.
     *
     * @throws IllegalArgumentException when the file beside them counts others
     */
    private String description(StudentRows rows) throws IOException {
      if (!store.exists(DistillationInfo.FILE)) {
        return "rows: " + rows.numRows() + ", tokens: " + rows.numTokens();
      }
      String json = store.readText(DistillationInfo.FILE);
      long counted = DistillationInfo.fromJson(json, store.describe(DistillationInfo.FILE)).rows();
      if (counted != rows.numRows()) {
        throw new IllegalArgumentException(
            "--data "
                + store.location()
                + " holds "
                + rows.numRows()
                + " rows, its "
                + DistillationInfo.FILE
                + " says "
                + counted
                + ", expected as many; run moe teach again");
      }
      return json;
    }
  }

  @Override
  public String location() {
    return store.location();
  }

  @Override
  public String tokenizerJson() {
    return tokenizerJson;
  }

  @Override
  public DataIdentity identity() {
    return identity;
  }

  /** Ids of the student's tokenizer. */
  public int vocabSize() {
    return vocabSize;
  }

  @Override
  public long numTrainRows() {
    return rows.numTrainRows();
  }

  @Override
  public int teacherTopK() {
    return rows.teacherTopK();
  }

  @Override
  public double validationBytesPerToken() {
    return rows.validationBytesPerToken();
  }

  @Override
  public List<TokenRow> readTrain() throws IOException {
    List<SortedMap<String, StudentSequence>> buckets = new ArrayList<>();
    for (int b = 0; b < rows.buckets(); b++) {
      buckets.add(new TreeMap<>());
    }
    List<TokenRow> packed = new ArrayList<>();
    try (Tokenizer tokenizer = Tokenizers.fromJson(tokenizerJson)) {
      forEach(
          row -> {
            if (!rows.isHeldOut(row.id())) {
              buckets.get(rows.bucketOf(row.id())).put(row.id(), rows.sequence(row, tokenizer));
            }
          });
    }
    for (int b = 0; b < buckets.size(); b++) {
      rows.packBucket(b, buckets.get(b).values().iterator(), packed::add);
      buckets.get(b).clear();
    }
    return packed;
  }

  @Override
  public List<TokenRow> readValidation() throws IOException {
    List<DistillationRow> heldOut = new ArrayList<>();
    forEach(
        row -> {
          if (rows.isHeldOut(row.id())) {
            heldOut.add(row);
          }
        });
    try (Tokenizer tokenizer = Tokenizers.fromJson(tokenizerJson)) {
      return rows.packValidation(heldOut, tokenizer);
    }
  }

  private void forEach(Consumer<DistillationRow> action) throws IOException {
    for (String file : files) {
      DistillationRowReader.read(new Path(file), configuration, action);
    }
  }

  @Override
  public JavaRDD<PositionedRow> forRanks(
      JavaSparkContext context, RowOrder order, int firstStep, int lastStep, int numRanks) {
    SerializableConfiguration shared = new SerializableConfiguration(configuration);
    DealtRows dealt = new DealtRows(order, firstStep, lastStep);
    StudentRows packing = rows;
    String json = tokenizerJson;
    JavaPairRDD<Long, byte[]> consumed =
        context
            .parallelize(files, files.size())
            .flatMapToPair(file -> trainRows(file, shared.value(), packing, json))
            .repartitionAndSortWithinPartitions(new Buckets(packing))
            .mapPartitionsWithIndex((bucket, own) -> packed(bucket, own, packing), true)
            .flatMapToPair(row -> dealt.consumed(row, DistillationDataset::toBytes).iterator());
    int length = seqLen;
    int padding = endOfTextId;
    return dealt.deal(consumed, numRanks, bytes -> fromBytes(bytes, length, padding));
  }

  private static Iterator<Tuple2<String, byte[]>> trainRows(
      String file, Configuration configuration, StudentRows packing, String tokenizerJson)
      throws IOException {
    List<Tuple2<String, byte[]>> rows = new ArrayList<>();
    try (Tokenizer tokenizer = Tokenizers.fromJson(tokenizerJson)) {
      DistillationRowReader.read(
          new Path(file),
          configuration,
          row -> {
            if (!packing.isHeldOut(row.id())) {
              rows.add(new Tuple2<>(row.id(), packing.sequence(row, tokenizer).toBytes()));
            }
          });
    }
    return rows.iterator();
  }

  private static Iterator<TokenRow> packed(
      int bucket, Iterator<Tuple2<String, byte[]>> sorted, StudentRows packing) {
    Iterable<Tuple2<String, byte[]>> rows = () -> sorted;
    List<TokenRow> packed = new ArrayList<>();
    packing.packBucket(
        bucket,
        StreamSupport.stream(rows.spliterator(), false)
            .map(row -> StudentSequence.fromBytes(row._2))
            .iterator(),
        packed::add);
    return packed.iterator();
  }

  private static byte[] toBytes(TokenRow row) {
    byte[] piece = RowPiece.of(row).toBytes();
    byte[] teacher = row.teacher().toBytes();
    return ByteBuffer.allocate(Integer.BYTES + piece.length + teacher.length)
        .putInt(piece.length)
        .put(piece)
        .put(teacher)
        .array();
  }

  private static TokenRow fromBytes(byte[] bytes, int seqLen, int endOfTextId) {
    ByteBuffer in = ByteBuffer.wrap(bytes);
    byte[] piece = new byte[in.getInt()];
    in.get(piece);
    byte[] teacher = new byte[in.remaining()];
    in.get(teacher);
    return RowPiece.assemble(List.of(RowPiece.fromBytes(piece)), seqLen, endOfTextId)
        .withTeacher(TeacherColumns.fromBytes(teacher));
  }

  /** Partition = bucket. */
  private static final class Buckets extends Partitioner {
    private final StudentRows packing;

    Buckets(StudentRows packing) {
      this.packing = packing;
    }

    @Override
    public int numPartitions() {
      return packing.buckets();
    }

    @Override
    public int getPartition(Object id) {
      return packing.bucketOf((String) id);
    }
  }
}
