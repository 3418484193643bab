package io.sparkmoe.spark.data;

import io.sparkmoe.data.DatasetInfo;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.data.Tokenizer;
import java.io.IOException;
import java.util.List;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Writes a dataset's folder: tokenizer.json, the rows of both halves, and dataset.json last, whose
 * presence is the commit. A folder without it is not a dataset, whatever else it holds.
 */
public final class DatasetWriter {

  private static final Logger LOG = LoggerFactory.getLogger(DatasetWriter.class);

  private static final StructType SCHEMA =
      new StructType()
          .add("tokens", DataTypes.createArrayType(DataTypes.IntegerType, false), false)
          .add("doc_starts", DataTypes.createArrayType(DataTypes.IntegerType, false), false)
          .add("source", DataTypes.StringType, false)
          .add("row_id", DataTypes.LongType, false)
          .add("num_tokens", DataTypes.IntegerType, false);

  private final SparkSession spark;
  private final HadoopStore out;

  /**
   * @param location folder to write, absent or empty
   * @throws IllegalArgumentException when it holds anything
   */
  public DatasetWriter(SparkSession spark, String location) throws IOException {
    this.spark = spark;
    this.out = new HadoopStore(location, spark.sparkContext().hadoopConfiguration());
    List<String> present = out.list("");
    if (present.contains(TokenDataset.DATASET_JSON)) {
      throw new IllegalArgumentException(
          "--out " + location + " holds a dataset already; delete it or give another folder");
    }
    if (!present.isEmpty()) {
      throw new IllegalArgumentException(
          "--out "
              + location
              + " is not empty, it holds "
              + present.get(0)
              + "; delete what is left of an interrupted prepare, or give another folder");
    }
  }

  /** Writes everything; after a failure the folder is empty again. */
  public void write(PackedRows rows, Tokenizer tokenizer) throws IOException {
    requireSpace(rows.info());
    try {
      out.writeText(TokenDataset.TOKENIZER_JSON, tokenizer.toJson());
      writeRows(rows.rows(false), TokenDataset.TRAIN);
      writeRows(rows.rows(true), TokenDataset.VALIDATION);
      out.writeText(TokenDataset.DATASET_JSON, rows.info().toJson());
    } catch (Exception e) { // Spark throws checked exceptions undeclared
      for (String path :
          List.of(
              TokenDataset.DATASET_JSON,
              TokenDataset.TRAIN,
              TokenDataset.VALIDATION,
              TokenDataset.TOKENIZER_JSON)) {
        deleteAfter(e, path);
      }
      throw e;
    }
  }

  private void requireSpace(DatasetInfo info) throws IOException {
    long rows = info.train().rows() + info.validation().rows();
    long neededBytes = rows * (info.seqLen() + 1L) * Integer.BYTES;
    if (out.usableBytes() < neededBytes) {
      throw new IllegalArgumentException(
          "--out "
              + out.location()
              + " has "
              + out.usableBytes()
              + " bytes free, the rows need up to "
              + neededBytes
              + "; free some or give another folder");
    }
  }

  private void writeRows(JavaRDD<TokenRow> rows, String split) {
    JavaRDD<Row> table =
        rows.map(
            row ->
                RowFactory.create(
                    row.tokens(), row.docStarts(), row.source(), row.rowId(), row.numTokens()));
    spark.createDataFrame(table, SCHEMA).write().parquet(out.location() + "/" + split);
  }

  private void deleteAfter(Exception failure, String path) {
    try {
      out.delete(path);
    } catch (IOException e) {
      LOG.warn("cannot delete {}/{} after a failure", out.location(), path, e);
      failure.addSuppressed(e);
    }
  }
}
