package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.function.IntPredicate;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShuffle;

/** Fast conversions between F32 and BF16, whose 16 bits are the upper half of an F32's. */
final class VectorBfloat16 {

  private static final int EXPONENT = 0x7F800000;

  private static final int MAGNITUDE = 0x7FFFFFFF;

  /** Turns a NaN whose payload would be cut off into one that stays. */
  private static final int QUIET = 0x00400000;

  /** Lane i takes from lane i/2: every pair of halves to both its places. */
  private static final VectorShuffle<Integer> SPREAD = VectorShuffle.fromOp(Lanes.INTS, i -> i / 2);

  /** As {@link #SPREAD}, for the back half. */
  private static final VectorShuffle<Integer> SPREAD_BACK =
      VectorShuffle.fromOp(Lanes.INTS, i -> (Lanes.LENGTH + i) / 2);

  /** Lane i takes from lane 2i, counted around: even lanes to the front and again to the back. */
  private static final VectorShuffle<Integer> PACK =
      VectorShuffle.fromOp(Lanes.INTS, i -> 2 * i % Lanes.LENGTH);

  private static final VectorMask<Integer> ODD = lanes(i -> i % 2 == 1);

  private static final VectorMask<Integer> BACK = lanes(i -> i >= Lanes.LENGTH / 2);

  private final Parallel parallel;

  VectorBfloat16(Parallel parallel) {
    this.parallel = parallel;
  }

  private static VectorMask<Integer> lanes(IntPredicate chosen) {
    boolean[] set = new boolean[Lanes.LENGTH];
    for (int i = 0; i < set.length; i++) {
      set[i] = chosen.test(i);
    }
    return VectorMask.fromArray(Lanes.INTS, set, 0);
  }

  void narrow(Tensor bf16, Tensor f32) {
    ByteBuffer to = bf16.bytes();
    ByteBuffer from = f32.bytes();
    Pieces.forEach(
        parallel,
        f32.size(),
        Pieces.GRAIN,
        (first, end) -> {
          int pair = 2 * Lanes.LENGTH;
          int bound = first + (end - first) / pair * pair;
          for (int i = first; i < bound; i += pair) {
            IntVector front = halves(round(Lanes.loadInts(from, i)));
            IntVector back = halves(round(Lanes.loadInts(from, i + Lanes.LENGTH)));
            Lanes.storeInts(to, i / 2, front.blend(back, BACK));
          }
          for (int i = bound; i < end; i++) {
            bf16.set(i, Lanes.get(from, i));
          }
        });
  }

  /** The upper 16 bits become the nearest BF16, ties to even. */
  private static IntVector round(IntVector bits) {
    IntVector odd = bits.lanewise(VectorOperators.LSHR, 16).and(1);
    IntVector rounded = bits.add(0x7FFF).add(odd);
    VectorMask<Integer> nan = bits.and(MAGNITUDE).compare(VectorOperators.GT, EXPONENT);
    return rounded.blend(bits.or(QUIET), nan);
  }

  /**
   * Joins the upper halves of lanes 2i and 2i+1, and puts the joined ones in the front and in the
   * back.
   */
  private static IntVector halves(IntVector rounded) {
    IntVector low = rounded.lanewise(VectorOperators.LSHR, 16);
    IntVector high = rounded.and(0xFFFF0000);
    // Lane 2i receives its neighbour's upper half by a shift of the 64-bit lane that holds both.
    IntVector neighbour =
        high.reinterpretAsLongs().lanewise(VectorOperators.LSHR, 32).reinterpretAsInts();
    return low.or(neighbour).rearrange(PACK);
  }

  void widen(Tensor f32, Tensor bf16) {
    ByteBuffer to = f32.bytes();
    ByteBuffer from = bf16.bytes();
    Pieces.forEach(
        parallel,
        f32.size(),
        Pieces.GRAIN,
        (first, end) -> {
          int pair = 2 * Lanes.LENGTH;
          int bound = first + (end - first) / pair * pair;
          for (int i = first; i < bound; i += pair) {
            IntVector halves = Lanes.loadInts(from, i / 2);
            Lanes.storeInts(to, i, widen(halves.rearrange(SPREAD)));
            Lanes.storeInts(to, i + Lanes.LENGTH, widen(halves.rearrange(SPREAD_BACK)));
          }
          for (int i = bound; i < end; i++) {
            Lanes.set(to, i, (float) bf16.get(i));
          }
        });
  }

  /** Even lanes take the lower half of the pair they hold, odd ones the upper. */
  private static IntVector widen(IntVector pairs) {
    IntVector lower = pairs.lanewise(VectorOperators.LSHL, 16);
    return lower.blend(pairs.and(0xFFFF0000), ODD);
  }
}
