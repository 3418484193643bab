package io.sparkmoe.spark.data;

import io.sparkmoe.data.DatasetInfo;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.io.OwnerMark;
import java.io.IOException;
import java.util.ArrayList;
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
 * Writes a dataset's folder: a mark that it is unfinished, tokenizer.json, the rows of both halves,
 * and dataset.json, whose presence is the commit; the mark goes last. A folder without dataset.json
 * is not a dataset, whatever else it holds; by the mark a later prepare knows what an interrupted
 * one left, and replaces it.
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

  /** Name of the mark. */
  private static final String UNFINISHED = "prepare.unfinished";

  private static final List<String> SPLITS = List.of(TokenDataset.TRAIN, TokenDataset.VALIDATION);

  /** What stands beside the mark while rows are written. */
  private static final List<String> CONTENTS =
      List.of(TokenDataset.TRAIN, TokenDataset.VALIDATION, TokenDataset.TOKENIZER_JSON);

  private final SparkSession spark;
  private final HadoopStore out;
  private final OwnerMark mark;

  /**
   * @param location folder to write: absent, empty, or as an interrupted prepare left it
   * @throws IllegalArgumentException when it holds anything else
   */
  public DatasetWriter(SparkSession spark, String location) throws IOException {
    this.spark = spark;
    this.out = new HadoopStore(location, spark.sparkContext().hadoopConfiguration());
    this.mark =
        new OwnerMark(
            out,
            UNFINISHED,
            "moe prepare writes here; without dataset.json it was interrupted, and the next moe"
                + " prepare replaces "
                + String.join(", ", CONTENTS));
    List<String> present = out.list("");
    if (present.contains(TokenDataset.DATASET_JSON)) {
      throw new IllegalArgumentException(
          "--out " + location + " holds a dataset already; delete it or give another folder");
    }
    if (present.contains(UNFINISHED)) {
      requireNothingForeign(location, present);
      LOG.info("{} holds what an interrupted prepare left; it will be replaced", location);
    } else if (!present.isEmpty()) {
      throw new IllegalArgumentException(
          "--out "
              + location
              + " is not empty, it holds "
              + present.get(0)
              + "; delete what is left of an interrupted prepare, or give another folder");
    }
  }

  /** Nothing that somebody else put there may be deleted. */
  private void requireNothingForeign(String location, List<String> present) throws IOException {
    List<String> foreign = new ArrayList<>(present);
    foreign.removeAll(CONTENTS);
    foreign.remove(UNFINISHED);
    for (String split : SPLITS) {
      out.list(split).stream()
          // Spark's own: part-*.parquet, _SUCCESS, _temporary, and committers' hidden folders.
          .filter(name -> !name.matches("part-.*|[_.].*"))
          .forEach(name -> foreign.add(split + "/" + name));
    }
    if (!foreign.isEmpty()) {
      throw new IllegalArgumentException(
          "--out "
              + location
              + " holds "
              + foreign.get(0)
              + " beside what an interrupted prepare left, expected nothing else; move it away or"
              + " give another folder");
    }
  }

  /**
   * Writes everything. After a failure the mark alone is left, since tasks that have not heard of
   * it yet may write on.
   */
  public void write(PackedRows rows, Tokenizer tokenizer) throws IOException {
    requireSpace(rows.info());
    // In this order: some file systems replace a mark by deleting the old one first.
    deleteContents();
    mark.take();
    try {
      out.writeText(TokenDataset.TOKENIZER_JSON, tokenizer.toJson());
      writeRows(rows.rows(false), TokenDataset.TRAIN);
      writeRows(rows.rows(true), TokenDataset.VALIDATION);
      mark.requireOurs();
      out.writeText(TokenDataset.DATASET_JSON, rows.info().toJson());
    } catch (Exception e) { // Spark throws checked exceptions undeclared
      requireOursAfter(e);
      deleteAfter(e);
      throw e;
    }
    mark.remove();
  }

  private void deleteContents() throws IOException {
    for (String path : CONTENTS) {
      out.delete(path);
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

  /** A prepare that has taken the folder is why this one failed, whatever Spark makes of it. */
  private void requireOursAfter(Exception failure) throws IOException {
    try {
      mark.requireOurs();
    } catch (IOException e) {
      e.addSuppressed(failure);
      throw e;
    }
  }

  private void deleteAfter(Exception failure) {
    try {
      out.delete(TokenDataset.DATASET_JSON);
      deleteContents();
    } catch (IOException e) {
      LOG.warn("cannot empty {} after a failure", out.location(), e);
      failure.addSuppressed(e);
    }
  }
}
