package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Bfloat16;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** Fast conversions between F32 and BF16, whose 16 bits are the upper half of an F32's. */
final class VectorBfloat16 {

  private static final int EXPONENT = 0x7F800000;

  private static final int MAGNITUDE = 0x7FFFFFFF;

  private static final int UPPER_HALF = 0xFFFF0000;

  /** Turns a NaN whose payload would be cut off into one that stays. */
  private static final int QUIET = 0x00400000;

  private final Parallel parallel;

  VectorBfloat16(Parallel parallel) {
    this.parallel = parallel;
  }

  /** To a BF16 tensor or an F32 one. */
  void round(Tensor rounded, Tensor f32) {
    ByteBuffer to = rounded.bytes();
    ByteBuffer from = f32.bytes();
    boolean bfloat16 = rounded.type() == DType.BF16;
    Pieces.forEach(
        parallel,
        f32.size(),
        Pieces.GRAIN,
        (first, end) -> {
          int bound = Lanes.bound(first, end);
          for (int i = first; i < bound; i += Lanes.LENGTH) {
            Lanes.storeBits(bfloat16, to, i, rounded(Lanes.loadInts(from, i)));
          }
          for (int i = bound; i < end; i++) {
            float value = Bfloat16.decode(Bfloat16.encode(Lanes.get(from, i)));
            Lanes.set(bfloat16, to, i, value);
          }
        });
  }

  /** Bits of the nearest BF16, ties to even, as floats. */
  static IntVector rounded(IntVector bits) {
    IntVector odd = bits.lanewise(VectorOperators.LSHR, Short.SIZE).and(1);
    IntVector rounded = bits.add(0x7FFF).add(odd);
    VectorMask<Integer> nan = bits.and(MAGNITUDE).compare(VectorOperators.GT, EXPONENT);
    return rounded.blend(bits.or(QUIET), nan).and(UPPER_HALF);
  }

  void widen(Tensor f32, Tensor bf16) {
    ByteBuffer to = f32.bytes();
    ByteBuffer from = bf16.bytes();
    Pieces.forEach(
        parallel,
        f32.size(),
        Pieces.GRAIN,
        (first, end) -> widen(to, first, from, first, end - first));
  }

  /** Widens {@code count} elements. */
  static void widen(ByteBuffer to, int toIndex, ByteBuffer bf16, int index, int count) {
    int bound = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      Lanes.store(to, toIndex + i, Lanes.loadBfloat16(bf16, index + i));
    }
    for (int i = bound; i < count; i++) {
      Lanes.set(to, toIndex + i, Lanes.getBfloat16(bf16, index + i));
    }
  }
}
