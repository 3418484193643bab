package io.sparkmoe.spark.data;

import io.sparkmoe.data.PositionedRow;
import io.sparkmoe.data.RowOrder;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.train.DataIdentity;
import java.io.IOException;
import java.util.List;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;

/** Rows that a run is trained and evaluated on, wherever they come from. */
public interface TrainingRows {

  /** The folder as a URI. */
  String location();

  /** The text of the rows' tokenizer.json. */
  String tokenizerJson();

  /** What tells these rows from others. */
  DataIdentity identity();

  /** Rows to train on. */
  long numTrainRows();

  /** Most tokens that a teacher stored of a position and the loss reads; 0 without a teacher. */
  int teacherTopK();

  /** Bytes of text in a token of the validation rows. */
  double validationBytesPerToken();

  /** Reads all training rows into this JVM, the row with id i at index i. */
  List<TokenRow> readTrain() throws IOException;

  /** Reads all validation rows into this JVM. */
  List<TokenRow> readValidation() throws IOException;

  /**
   * The training rows that some steps consume, dealt to the ranks: partition r holds rank r's rows
   * by ascending position. Only these rows are shuffled, and as the shuffle comes last, the result
   * may stand in front of {@code barrier()}.
   *
   * @param order in which rows are trained on
   * @param firstStep first step, from 1
   * @param lastStep last step, included
   */
  JavaRDD<PositionedRow> forRanks(
      JavaSparkContext context, RowOrder order, int firstStep, int lastStep, int numRanks)
      throws IOException;
}
