package io.sparkmoe.kernel;

import io.sparkmoe.tensor.PowerOfTwoScale;
import java.nio.ByteBuffer;

/**
 * Scales of the columns of a block of at most 128 columns: found in one pass over its rows, applied
 * in another.
 */
final class ColumnScales {

  private final VectorFp8Lanes lanes;
  private final ByteBuffer largest = new Scratch().floats(Fp8Granularity.SCALE_COLUMNS);
  private final ByteBuffer factors = new Scratch().floats(Fp8Granularity.SCALE_COLUMNS);
  private final ByteBuffer inverses = new Scratch().floats(Fp8Granularity.SCALE_COLUMNS);
  private boolean fitBfloat16;

  ColumnScales(VectorFp8Lanes lanes) {
    this.lanes = lanes;
  }

  /**
   * Finds the scales.
   *
   * @param values F32; row r of the block starts at element {@code index + r * stride}
   */
  void find(ByteBuffer values, int index, int stride, int height, int count) {
    VectorFp8Lanes.largestBitsOfColumns(largest, values, index, stride, height, count);
    fitBfloat16 = true;
    for (int i = 0; i < count; i++) {
      byte scale = PowerOfTwoScale.of(Lanes.get(largest, i), lanes.format());
      Lanes.set(factors, i, PowerOfTwoScale.value(scale));
      Lanes.set(inverses, i, PowerOfTwoScale.reciprocal(scale));
      fitBfloat16 &= lanes.fitsBfloat16(scale);
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
      ByteBuffer values,
      int index,
      int stride,
      int height,
      int count) {
    for (int r = 0; r < height; r++) {
      lanes.roundColumns(
          bfloat16,
          to,
          toIndex + r * toStride,
          values,
          index + r * stride,
          count,
          inverses,
          factors,
          fitBfloat16);
    }
  }
}
