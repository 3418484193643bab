package io.sparkmoe.spark.job;

import io.sparkmoe.data.PositionedRow;
import io.sparkmoe.data.RowOrder;
import io.sparkmoe.data.RowSource;
import io.sparkmoe.data.StreamedRowSource;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.train.RunConfig;
import java.util.Iterator;
import java.util.List;
import org.apache.spark.broadcast.Broadcast;

/**
 * Rows of a dataset: training rows stream out of the rank's partition, validation rows are
 * broadcast.
 */
final class DatasetRows implements SparkRun.Rows<PositionedRow> {

  private static final long serialVersionUID = 1;

  private final long numRows;
  private final int teacherTopK;
  private final Broadcast<List<TokenRow>> validation;

  DatasetRows(long numRows, int teacherTopK, Broadcast<List<TokenRow>> validation) {
    this.numRows = numRows;
    this.teacherTopK = teacherTopK;
    this.validation = validation;
  }

  @Override
  public RowSource source(
      Iterator<PositionedRow> partition, RunConfig config, int rank, int numRanks) {
    RowOrder order = new RowOrder(numRows, config.train().batchSequences(), config.train().seed());
    return new StreamedRowSource(partition, order, rank, numRanks);
  }

  @Override
  public int teacherTopK() {
    return teacherTopK;
  }

  @Override
  public List<TokenRow> validation() {
    return validation.value();
  }
}
