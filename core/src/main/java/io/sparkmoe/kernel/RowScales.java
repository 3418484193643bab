package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.PowerOfTwoScale;
import java.util.Arrays;

/**
 * Scales of the rows of a block of at most 128 rows, one each or one for all. Found in a pass of
 * their own: a row's scale takes longer to find than its values take to be rounded by it, but those
 * of several rows are found side by side.
 */
final class RowScales {

  private static final int TILE = Fp8Granularity.SCALE_COLUMNS;

  /** Bits of the largest finite magnitude of every row. */
  private final int[] largest = new int[TILE];

  private final boolean[] finite = new boolean[TILE];
  private final byte[] scales = new byte[TILE];

  /**
   * Finds the largest magnitudes.
   *
   * @param values row r of the block starts at element {@code r * 128}
   */
  void read(float[] values, int height, int count) {
    for (int r = 0; r < height; r++) {
      int bits = VectorFp8Lanes.largestBits(values, r * TILE, count);
      finite[r] = VectorFp8Lanes.finite(bits);
      largest[r] = finite[r] ? bits : VectorFp8Lanes.largestFiniteBits(values, r * TILE, 1, count);
    }
  }

  /** Bits of the largest finite magnitude of the first {@code height} rows. */
  int largestBits(int height) {
    int result = 0;
    for (int r = 0; r < height; r++) {
      result = Math.max(result, largest[r]);
    }
    return result;
  }

  /** Gives each of the first {@code height} rows its own scale. */
  void set(int height, Fp8Format format) {
    for (int r = 0; r < height; r++) {
      scales[r] = PowerOfTwoScale.of(Float.intBitsToFloat(largest[r]), format);
    }
  }

  /** Gives all rows one scale. */
  void set(byte scale) {
    Arrays.fill(scales, scale);
  }

  /** Scale of row r. */
  byte scale(int r) {
    return scales[r];
  }

  /** Whether all values of row r are finite. */
  boolean finite(int r) {
    return finite[r];
  }
}
