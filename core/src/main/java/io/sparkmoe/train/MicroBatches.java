package io.sparkmoe.train;

import io.sparkmoe.data.RowOrder;
import io.sparkmoe.data.TokenRow;
import java.util.ArrayList;
import java.util.List;

/**
 * Cuts a rank's rows into forward passes. Every rank makes the same number of passes, because each
 * pass exchanges tokens with all ranks; a rank that has no row for a pass takes part with a row
 * that is all padding.
 */
final class MicroBatches {

  private MicroBatches() {}

  /** Rows of the rank that has most of that many. */
  static int largestSlice(int rows, int numRanks) {
    return (rows + numRanks - 1) / numRanks;
  }

  /**
   * Forward passes over a batch.
   *
   * @param largestSlice rows of the rank that has most
   * @param microBatchSequences rows of a pass, 0 = all
   */
  static int passes(int largestSlice, int microBatchSequences) {
    if (microBatchSequences == 0 || largestSlice == 0) {
      return 1;
    }
    return (largestSlice + microBatchSequences - 1) / microBatchSequences;
  }

  /** The rows in order, in {@code passes} groups of nearly equal size. */
  static List<List<TokenRow>> split(List<TokenRow> rows, int passes, int seqLen) {
    List<List<TokenRow>> groups = new ArrayList<>(passes);
    for (int pass = 0; pass < passes; pass++) {
      int from = RowOrder.sliceStart(rows.size(), pass, passes);
      int to = RowOrder.sliceStart(rows.size(), pass + 1, passes);
      groups.add(from == to ? List.of(padding(seqLen)) : rows.subList(from, to));
    }
    return groups;
  }

  private static TokenRow padding(int seqLen) {
    return new TokenRow(-1, new int[seqLen + 1], new int[0], 0, "");
  }
}
