package io.sparkmoe.kernel;

import io.sparkmoe.tensor.PowerOfTwoScale;
import java.nio.ByteBuffer;

/**
 * Scales of the columns of a block of at most 128 columns: found in one pass over its rows, applied
 * in another.
 */
final class ColumnScales {

  private final VectorFp8Lanes lanes;
  private final float[] largest = new float[Fp8Granularity.SCALE_COLUMNS];
  private final byte[] scales = new byte[Fp8Granularity.SCALE_COLUMNS];
  private final float[] normals = new float[Fp8Granularity.SCALE_COLUMNS];
  private boolean plain;

  ColumnScales(VectorFp8Lanes lanes) {
    this.lanes = lanes;
  }

  /**
   * Finds the scales.
   *
   * @param values row r of the block starts at element {@code r * 128}
   */
  void find(float[] values, int height, int count) {
    VectorFp8Lanes.largestOfColumns(largest, values, height, count);
    plain = true;
    for (int i = 0; i < count; i++) {
      int bits = Float.floatToRawIntBits(largest[i]);
      if (!VectorFp8Lanes.finite(bits)) {
        plain = false;
        bits = VectorFp8Lanes.largestFiniteBits(values, i, Fp8Granularity.SCALE_COLUMNS, height);
      }
      scales[i] = PowerOfTwoScale.of(Float.intBitsToFloat(bits), lanes.format());
      normals[i] = lanes.normal(scales[i]);
      plain &= lanes.roundsInPlace(scales[i]);
    }
  }

  /**
   * Rounds the same block by them.
   *
   * @param bfloat16 whether {@code to} is BF16, not F32
   * @param to written; row r of the block starts at element {@code toIndex + r * toStride}
   */
  void round(
      boolean bfloat16,
      ByteBuffer to,
      int toIndex,
      int toStride,
      float[] values,
      int height,
      int count) {
    lanes.roundColumns(
        bfloat16, to, toIndex, toStride, values, height, count, scales, normals, plain);
  }
}
