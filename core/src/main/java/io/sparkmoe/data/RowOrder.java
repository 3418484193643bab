package io.sparkmoe.data;

/**
 * The order in which rows are trained on: every epoch is a seeded permutation of all rows, step s
 * takes the next {@code batchSequences}, and rank r a contiguous slice of them. A function of its
 * values alone, so any number of ranks, local or on Spark, sees the same global batches, and a
 * resumed run goes on where it was.
 *
 * @param numRows rows of the dataset
 * @param batchSequences rows of a step over all ranks
 * @param seed of the permutation
 */
public record RowOrder(long numRows, int batchSequences, long seed) {

  private static final int ROUNDS = 4;

  public RowOrder {
    if (numRows < 1 || batchSequences < 1) {
      throw new IllegalArgumentException(
          "row order needs at least one row and one sequence, got "
              + numRows
              + " and "
              + batchSequences);
    }
  }

  /** Row at a position of the endless training order: position / numRows is the epoch. */
  public long rowAt(long position) {
    return permute(position / numRows, position % numRows);
  }

  /** First position of a step (from 1). */
  public long positionOf(int step) {
    return (step - 1L) * batchSequences;
  }

  /**
   * First of the rank's slots in a step, in [0, batchSequences]; the slice ends where the next
   * rank's begins.
   */
  public int firstSlot(int rank, int numRanks) {
    return (int) ((long) batchSequences * rank / numRanks);
  }

  /** A Feistel network over the next even power of two, walked until it lands below numRows. */
  private long permute(long epoch, long index) {
    int halfBits = Math.max(1, (65 - Long.numberOfLeadingZeros(Math.max(1, numRows - 1))) / 2);
    long mask = (1L << halfBits) - 1;
    long value = index;
    do {
      long left = value >>> halfBits;
      long right = value & mask;
      for (int round = 0; round < ROUNDS; round++) {
        long mixed =
            mix(right + mix(seed + 0x9E3779B97F4A7C15L * (epoch * ROUNDS + round + 1))) & mask;
        long next = left ^ mixed;
        left = right;
        right = next;
      }
      value = left << halfBits | right;
    } while (value >= numRows);
    return value;
  }

  private static long mix(long z) {
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }
}
