package io.sparkmoe.spark.data;

import io.sparkmoe.data.DatasetInfo;
import io.sparkmoe.data.PositionedRow;
import io.sparkmoe.data.RowOrder;
import io.sparkmoe.data.RowPiece;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.data.Tokenizers;
import io.sparkmoe.train.DataIdentity;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.util.SerializableConfiguration;
import scala.Tuple2;

/**
 * A dataset of token rows that {@code moe prepare} wrote: a folder with dataset.json,
 * tokenizer.json and Parquet.
 */
public final class TokenDataset implements TrainingRows {

  /** Name of the half that is trained on, and of its folder. */
  public static final String TRAIN = "train";

  /** Name of the half that is held out, and of its folder. */
  public static final String VALIDATION = "validation";

  /** Name of the file whose presence makes a folder a dataset. */
  public static final String DATASET_JSON = "dataset.json";

  static final String TOKENIZER_JSON = "tokenizer.json";

  private final HadoopStore store;
  private final Configuration configuration;
  private final DatasetInfo info;
  private final String tokenizerJson;
  private final DataIdentity identity;

  private TokenDataset(
      HadoopStore store, Configuration configuration, String infoJson, String tokenizerJson) {
    this.store = store;
    this.configuration = configuration;
    this.info = DatasetInfo.fromJson(infoJson, store.location() + "/" + DATASET_JSON);
    this.tokenizerJson = tokenizerJson;
    this.identity = DataIdentity.of(info.tokenizerSha256(), infoJson);
  }

  /**
   * Opens a dataset; no rows are read.
   *
   * @param location folder, with or without a scheme
   * @throws IllegalArgumentException when the folder is not a finished dataset
   */
  public static TokenDataset open(String location, Configuration configuration) throws IOException {
    HadoopStore store = new HadoopStore(location, configuration);
    String info;
    String tokenizer;
    try {
      info = store.readText(DATASET_JSON);
      tokenizer = store.readText(TOKENIZER_JSON);
    } catch (FileNotFoundException e) {
      throw new IllegalArgumentException(
          "--data "
              + location
              + " is not a finished dataset, it has no "
              + (store.exists(DATASET_JSON) ? TOKENIZER_JSON : DATASET_JSON)
              + "; run moe prepare --out "
              + location,
          e);
    }
    return new TokenDataset(store, configuration, info, tokenizer);
  }

  /** What dataset.json says. */
  public DatasetInfo info() {
    return info;
  }

  @Override
  public String tokenizerJson() {
    return tokenizerJson;
  }

  @Override
  public String location() {
    return store.location();
  }

  /**
   * Opens the tokenizer that the rows were made with.
   *
   * @throws IllegalArgumentException when tokenizer.json is not the one that dataset.json names
   */
  public Tokenizer openTokenizer() {
    Tokenizer tokenizer = Tokenizers.fromJson(tokenizerJson);
    if (!tokenizer.sha256().equals(info.tokenizerSha256())) {
      tokenizer.close();
      throw new IllegalArgumentException(
          "tokenizer of dataset "
              + location()
              + " has SHA-256 "
              + tokenizer.sha256()
              + ", its dataset.json says "
              + info.tokenizerSha256()
              + "; run moe prepare again");
    }
    return tokenizer;
  }

  /**
   * Refuses a configuration that these rows do not fit.
   *
   * @param seqLen {@code train.seq_len}
   * @param vocabSize {@code model.vocab_size}
   */
  public void requireFits(int seqLen, int vocabSize) {
    if (info.seqLen() != seqLen) {
      throw new IllegalArgumentException(
          "dataset "
              + location()
              + " was made with seq_len "
              + info.seqLen()
              + ", the config says train.seq_len="
              + seqLen
              + "; set train.seq_len or run moe prepare --seq-len "
              + seqLen);
    }
    if (info.vocabSize() > vocabSize) {
      throw new IllegalArgumentException(
          "dataset "
              + location()
              + " has token ids up to "
              + (info.vocabSize() - 1)
              + ", the config says "
              + "model.vocab_size="
              + vocabSize
              + "; set model.vocab_size to "
              + info.vocabSize()
              + " or more");
    }
  }

  /** Counts of a half. */
  public DatasetInfo.Split split(String split) {
    return split.equals(VALIDATION) ? info.validation() : info.train();
  }

  /**
   * Reads a half into this JVM, without a Spark session.
   *
   * @param split {@link #TRAIN} or {@link #VALIDATION}
   * @return all rows, the row with id i at index i
   */
  public List<TokenRow> readLocally(String split) throws IOException {
    List<TokenRow> rows = new ArrayList<>();
    for (String file : files(split)) {
      TokenRowReader.read(new Path(file), configuration, rows::add);
    }
    rows.sort(Comparator.comparingLong(TokenRow::rowId));
    long expected = split(split).rows();
    boolean complete = rows.size() == expected;
    for (int i = 0; complete && i < rows.size(); i++) {
      complete = rows.get(i).rowId() == i;
    }
    if (!complete) {
      throw incomplete(split, rows.size());
    }
    return rows;
  }

  private IllegalArgumentException incomplete(String split, long rows) {
    return new IllegalArgumentException(
        "dataset "
            + location()
            + "/"
            + split
            + " holds "
            + rows
            + " rows, dataset.json says rows 0 to "
            + (split(split).rows() - 1)
            + "; run moe prepare again");
  }

  @Override
  public DataIdentity identity() {
    return identity;
  }

  @Override
  public long numTrainRows() {
    return info.train().rows();
  }

  @Override
  public int teacherTopK() {
    return 0;
  }

  @Override
  public double validationBytesPerToken() {
    return info.validation().bytesPerToken();
  }

  @Override
  public List<TokenRow> readTrain() throws IOException {
    return readLocally(TRAIN);
  }

  @Override
  public List<TokenRow> readValidation() throws IOException {
    return readLocally(VALIDATION);
  }

  private List<String> files(String split) throws IOException {
    return store.list(split).stream()
        .filter(name -> name.endsWith(".parquet"))
        .map(name -> store.location() + "/" + split + "/" + name)
        .toList();
  }

  @Override
  public JavaRDD<PositionedRow> forRanks(
      JavaSparkContext context, RowOrder order, int firstStep, int lastStep, int numRanks)
      throws IOException {
    if (order.numRows() != info.train().rows()) {
      throw new IllegalArgumentException(
          "dataset "
              + location()
              + " has "
              + info.train().rows()
              + " training rows, the row order expects "
              + order.numRows());
    }
    List<String> files = files(TRAIN);
    long rows =
        files.stream().mapToLong(file -> TokenRowReader.count(new Path(file), configuration)).sum();
    if (rows != info.train().rows()) {
      throw incomplete(TRAIN, rows);
    }
    SerializableConfiguration shared = new SerializableConfiguration(configuration);
    DealtRows dealt = new DealtRows(order, firstStep, lastStep);
    JavaPairRDD<Long, byte[]> consumed =
        context
            .parallelize(files, files.size())
            .flatMapToPair(file -> consumedRows(file, shared.value(), dealt));
    int seqLen = info.seqLen();
    int endOfTextId = info.endOfTextId();
    return dealt.deal(
        consumed,
        numRanks,
        bytes -> RowPiece.assemble(List.of(RowPiece.fromBytes(bytes)), seqLen, endOfTextId));
  }

  private static Iterator<Tuple2<Long, byte[]>> consumedRows(
      String file, Configuration configuration, DealtRows dealt) {
    List<Tuple2<Long, byte[]>> consumed = new ArrayList<>();
    TokenRowReader.read(
        new Path(file),
        configuration,
        row -> consumed.addAll(dealt.consumed(row, one -> RowPiece.of(one).toBytes())));
    return consumed.iterator();
  }
}
