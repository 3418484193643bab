package io.sparkmoe.data;

import java.util.List;

/** The rows of a dataset that this rank will be asked for, by training order. */
public interface RowSource extends AutoCloseable {

  /**
   * The rows of this rank's slice of one step.
   *
   * @param step optimizer step, from 1
   * @return rows in global batch order
   */
  List<TokenRow> rowsOf(int step);

  @Override
  default void close() {}
}
