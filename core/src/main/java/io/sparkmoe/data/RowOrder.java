package io.sparkmoe.data;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.LongStream;

/**
 * The order in which rows are trained on: every epoch visits every row once, step s takes the next
 * {@code batchSequences}, and rank r a contiguous slice of them. A function of its values alone, so
 * any number of ranks, local or on Spark, sees the same global batches, and a resumed run goes on
 * where it was.
 *
 * <p>Batches are stratified: a dataset is cut into as many contiguous strata as a batch has rows,
 * each is permuted by itself, and a batch takes one row of each. Datasets hold one source after the
 * other, so every step sees the sources in their proportions, where a random draw of few rows would
 * leave some out and send the tokens of a step to few experts.
 *
 * @param numRows rows of the dataset
 * @param batchSequences rows of a step over all ranks
 * @param seed of the permutations
 */
public record RowOrder(long numRows, int batchSequences, long seed) implements Serializable {

  private static final int ROUNDS = 4;

  /** 2^64 over the golden ratio, which spreads small numbers over all bits. */
  private static final long GOLDEN = 0x9E3779B97F4A7C15L;

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
    long epoch = position / numRows;
    long index = position % numRows;
    long stratum = index % batchSequences;
    long place = permutation(epoch, stratum).apply(index / batchSequences);
    return stratumStart(stratum) + place;
  }

  /** First row of a stratum; the first numRows % batchSequences of them have one row more. */
  private long stratumStart(long stratum) {
    return stratum * (numRows / batchSequences) + Math.min(stratum, numRows % batchSequences);
  }

  private Permutation permutation(long epoch, long stratum) {
    return new Permutation(
        stratumStart(stratum + 1) - stratumStart(stratum),
        mix(seed + GOLDEN * (epoch + 1)) + stratum);
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
    long longer = numRows % batchSequences;
    long size = numRows / batchSequences;
    long stratum =
        row < longer * (size + 1) ? row / (size + 1) : longer + (row - longer * (size + 1)) / size;
    long place = permutation(epoch, stratum).undo(row - stratumStart(stratum));
    return epoch * numRows + place * batchSequences + stratum;
  }

  /**
   * A permutation of [0, size): a Feistel network over the next even power of two, walked until it
   * lands below the size.
   */
  private record Permutation(long size, long key) {

    long apply(long index) {
      return walk(index, false);
    }

    long undo(long index) {
      return walk(index, true);
    }

    /** Backwards the same rounds in the opposite order undo each other, with the halves swapped. */
    private long walk(long index, boolean backwards) {
      int halfBits = halfBits();
      long mask = (1L << halfBits) - 1;
      long value = index;
      do {
        long left = backwards ? value & mask : value >>> halfBits;
        long right = backwards ? value >>> halfBits : value & mask;
        for (int i = 0; i < ROUNDS; i++) {
          int round = backwards ? ROUNDS - 1 - i : i;
          long next = left ^ roundKey(right, round) & mask;
          left = right;
          right = next;
        }
        value = backwards ? right << halfBits | left : left << halfBits | right;
      } while (value >= size);
      return value;
    }

    private int halfBits() {
      return Math.max(1, (65 - Long.numberOfLeadingZeros(Math.max(1, size - 1))) / 2);
    }

    private long roundKey(long half, int round) {
      return mix(half + mix(key + GOLDEN * (round + 1)));
    }
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
