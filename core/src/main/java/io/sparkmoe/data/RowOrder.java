package io.sparkmoe.data;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.LongStream;

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
public record RowOrder(long numRows, int batchSequences, long seed) implements Serializable {

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
    return sliceStart(batchSequences, rank, numRanks);
  }

  /** Positions of the rank's slice of a step, ascending. */
  public LongStream positionsOf(int step, int rank, int numRanks) {
    long first = positionOf(step);
    return LongStream.range(
        first + firstSlot(rank, numRanks), first + firstSlot(rank + 1, numRanks));
  }

  /**
   * First row of a slice when rows are cut into contiguous slices of nearly equal size; it ends
   * where the next one begins.
   *
   * @param slice number of the slice in [0, numSlices]
   */
  public static int sliceStart(int numRows, int slice, int numSlices) {
    return (int) ((long) numRows * slice / numSlices);
  }

  /** Rank that a position of the training order falls to. */
  public int rankOf(long position, int numRanks) {
    long slot = position % batchSequences;
    // The largest rank whose first slot, floor(batch * rank / numRanks), is not behind the slot.
    return (int) (((slot + 1) * numRanks - 1) / batchSequences);
  }

  /** Position at which a row comes in an epoch (from 0): the inverse of {@link #rowAt}. */
  public long positionOf(long epoch, long row) {
    return epoch * numRows + unpermute(epoch, row);
  }

  /** A Feistel network over the next even power of two, walked until it lands below numRows. */
  private long permute(long epoch, long index) {
    int halfBits = halfBits();
    long mask = (1L << halfBits) - 1;
    long value = index;
    do {
      long left = value >>> halfBits;
      long right = value & mask;
      for (int round = 0; round < ROUNDS; round++) {
        long next = left ^ roundKey(right, epoch, round) & mask;
        left = right;
        right = next;
      }
      value = left << halfBits | right;
    } while (value >= numRows);
    return value;
  }

  /** The same walk backwards, each round undone by itself. */
  private long unpermute(long epoch, long index) {
    int halfBits = halfBits();
    long mask = (1L << halfBits) - 1;
    long value = index;
    do {
      long left = value >>> halfBits;
      long right = value & mask;
      for (int round = ROUNDS - 1; round >= 0; round--) {
        long previous = right ^ roundKey(left, epoch, round) & mask;
        right = left;
        left = previous;
      }
      value = left << halfBits | right;
    } while (value >= numRows);
    return value;
  }

  private int halfBits() {
    return Math.max(1, (65 - Long.numberOfLeadingZeros(Math.max(1, numRows - 1))) / 2);
  }

  private long roundKey(long half, long epoch, int round) {
    return mix(half + mix(seed + 0x9E3779B97F4A7C15L * (epoch * ROUNDS + round + 1)));
  }

  private static long mix(long z) {
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }

  /**
   * Evenly spaced rows, the same ones every time.
   *
   * @param count how many, at most as many as there are
   */
  public static List<TokenRow> evenlySpaced(List<TokenRow> rows, int count) {
    List<TokenRow> chosen = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      chosen.add(rows.get((int) ((long) rows.size() * i / count)));
    }
    return chosen;
  }
}
