package io.sparkmoe.data;

import java.util.List;

/** Rows of a rank from a dataset held in memory; any step at any time. */
public final class InMemoryRowSource implements RowSource {

  private final List<TokenRow> rows;
  private final RowOrder order;
  private final int rank;
  private final int numRanks;

  /**
   * @param rows the whole dataset; the row with id i at index i
   */
  public InMemoryRowSource(List<TokenRow> rows, RowOrder order, int rank, int numRanks) {
    if (rows.size() != order.numRows()) {
      throw new IllegalArgumentException(
          "dataset holds " + rows.size() + " rows, the row order expects " + order.numRows());
    }
    this.rows = List.copyOf(rows);
    this.order = order;
    this.rank = rank;
    this.numRanks = numRanks;
  }

  @Override
  public List<TokenRow> rowsOf(int step) {
    return order
        .positionsOf(step, rank, numRanks)
        .mapToObj(position -> rows.get((int) order.rowAt(position)))
        .toList();
  }
}
