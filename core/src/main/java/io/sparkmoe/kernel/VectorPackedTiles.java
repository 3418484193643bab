package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Tiles of weights narrower than a float, which are decoded in registers. A 32-bit lane holds the
 * weights of one output for two or four neighbouring inputs, so that decoding moves nothing across
 * lanes: a weight is shifted left to the top of its lane, then right to spread its sign and make
 * room for a float's longer exponent, and the rest is cleared. A BF16 value is the upper half of a
 * float. An E4M3 code becomes its value times 2^-120, the difference of the two biases; subnormal
 * codes become subnormal floats, so that no code is a special case.
 *
 * <p>FP8 inputs are multiplied by the power-of-two scale of their weights and by {@link
 * #E4M3_FACTOR} beforehand, and sums by that factor afterwards, instead of every weight by 2^120.
 * All that is exact: sums have the bits of those over decoded weights, as long as inputs times
 * scale stay below 2^67 and sums, where they are not zero, above 2^-66.
 */
final class VectorPackedTiles {

  /** Half of what a decoded E4M3 code lacks: 2^60 in the inputs, 2^60 in the sums. */
  static final float E4M3_FACTOR = 0x1p60f;

  private static final int E4M3_SIGN_BITS = 4;

  private static final int E4M3_BITS = 0x87F00000;

  private static final int BF16_BITS = 0xFFFF0000;

  /** By number of rows: 1, 2, 4 and 8. */
  final PanelTile[] tiles;

  /** Inputs of a group, as a shift. */
  private final int groupShift;

  private final int weightBits;

  /** Copies of the sign that a right shift makes. */
  private final int signBits;

  /** Sign, exponent and mantissa. */
  private final int bits;

  /**
   * @param type BF16 or F8_E4M3
   */
  VectorPackedTiles(DType type) {
    boolean half = type == DType.BF16;
    groupShift = half ? 1 : 2;
    weightBits = half ? 16 : 8;
    signBits = half ? 0 : E4M3_SIGN_BITS;
    bits = half ? BF16_BITS : E4M3_BITS;
    PanelTile one = half ? VectorPackedTiles::oneBfloat16 : VectorPackedTiles::oneFp8;
    tiles = new PanelTile[] {one, this::two, this::four, this::eight};
  }

  // One row: whole groups with constant shifts, half as fast again as one input after the other.

  private static void oneBfloat16(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int inputs) {
    IntVector mask = IntVector.broadcast(Lanes.INTS, BF16_BITS);
    FloatVector zero = VectorMath.zero();
    FloatVector a0 = zero;
    FloatVector b0 = zero;
    for (int i = 0, p = at, q = from; i < inputs; i += 2, p += PanelMatrix.WIDTH, q += 2) {
      IntVector front = Lanes.loadInts(w, p);
      IntVector back = Lanes.loadInts(w, p + Lanes.LENGTH);
      FloatVector s = VectorMath.splat(x[q]);
      a0 = s.fma(lower(front), a0);
      b0 = s.fma(lower(back), b0);
      s = VectorMath.splat(x[q + 1]);
      a0 = s.fma(upper(front, mask), a0);
      b0 = s.fma(upper(back, mask), b0);
    }
    PanelTile.put(sums, lane, a0, b0);
  }

  private static void oneFp8(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int inputs) {
    IntVector mask = IntVector.broadcast(Lanes.INTS, E4M3_BITS);
    FloatVector zero = VectorMath.zero();
    FloatVector a0 = zero;
    FloatVector b0 = zero;
    for (int i = 0, p = at, q = from; i < inputs; i += 4, p += PanelMatrix.WIDTH, q += 4) {
      IntVector front = Lanes.loadInts(w, p);
      IntVector back = Lanes.loadInts(w, p + Lanes.LENGTH);
      FloatVector s = VectorMath.splat(x[q]);
      a0 = s.fma(code(front.lanewise(VectorOperators.LSHL, 24), mask), a0);
      b0 = s.fma(code(back.lanewise(VectorOperators.LSHL, 24), mask), b0);
      s = VectorMath.splat(x[q + 1]);
      a0 = s.fma(code(front.lanewise(VectorOperators.LSHL, 16), mask), a0);
      b0 = s.fma(code(back.lanewise(VectorOperators.LSHL, 16), mask), b0);
      s = VectorMath.splat(x[q + 2]);
      a0 = s.fma(code(front.lanewise(VectorOperators.LSHL, 8), mask), a0);
      b0 = s.fma(code(back.lanewise(VectorOperators.LSHL, 8), mask), b0);
      s = VectorMath.splat(x[q + 3]);
      a0 = s.fma(code(front, mask), a0);
      b0 = s.fma(code(back, mask), b0);
    }
    PanelTile.put(sums, lane, a0, b0);
  }

  /** One row by two panels of BF16 weights. */
  static void oneBfloat16Panels(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
    IntVector mask = IntVector.broadcast(Lanes.INTS, BF16_BITS);
    FloatVector zero = VectorMath.zero();
    FloatVector a0 = zero;
    FloatVector b0 = zero;
    FloatVector a1 = zero;
    FloatVector b1 = zero;
    for (int i = 0, g = at; i < inputs; i += 2, g += PanelMatrix.WIDTH) {
      FloatVector s = VectorMath.splat(x[from + i]);
      FloatVector t = VectorMath.splat(x[from + i + 1]);
      IntVector pair = Lanes.loadInts(w, g);
      a0 = t.fma(upper(pair, mask), s.fma(lower(pair), a0));
      pair = Lanes.loadInts(w, g + Lanes.LENGTH);
      b0 = t.fma(upper(pair, mask), s.fma(lower(pair), b0));
      pair = Lanes.loadInts(w, g + stride);
      a1 = t.fma(upper(pair, mask), s.fma(lower(pair), a1));
      pair = Lanes.loadInts(w, g + stride + Lanes.LENGTH);
      b1 = t.fma(upper(pair, mask), s.fma(lower(pair), b1));
    }
    PanelTile.put(sums, lane, a0, b0);
    PanelTile.put(sums, lane + PanelMatrix.WIDTH, a1, b1);
  }

  /** Two rows by two panels of BF16 weights. */
  static void twoBfloat16Panels(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
    IntVector mask = IntVector.broadcast(Lanes.INTS, BF16_BITS);
    FloatVector zero = VectorMath.zero();
    FloatVector a00 = zero;
    FloatVector b00 = zero;
    FloatVector a01 = zero;
    FloatVector b01 = zero;
    FloatVector a10 = zero;
    FloatVector b10 = zero;
    FloatVector a11 = zero;
    FloatVector b11 = zero;
    for (int i = 0, g = at, q = from; i < inputs; i += 2, g += PanelMatrix.WIDTH, q += 4) {
      FloatVector s0 = VectorMath.splat(x[q]);
      FloatVector s1 = VectorMath.splat(x[q + 1]);
      FloatVector t0 = VectorMath.splat(x[q + 2]);
      FloatVector t1 = VectorMath.splat(x[q + 3]);
      IntVector pair = Lanes.loadInts(w, g);
      FloatVector weights = lower(pair);
      a00 = s0.fma(weights, a00);
      a01 = s1.fma(weights, a01);
      weights = upper(pair, mask);
      a00 = t0.fma(weights, a00);
      a01 = t1.fma(weights, a01);
      pair = Lanes.loadInts(w, g + Lanes.LENGTH);
      weights = lower(pair);
      b00 = s0.fma(weights, b00);
      b01 = s1.fma(weights, b01);
      weights = upper(pair, mask);
      b00 = t0.fma(weights, b00);
      b01 = t1.fma(weights, b01);
      pair = Lanes.loadInts(w, g + stride);
      weights = lower(pair);
      a10 = s0.fma(weights, a10);
      a11 = s1.fma(weights, a11);
      weights = upper(pair, mask);
      a10 = t0.fma(weights, a10);
      a11 = t1.fma(weights, a11);
      pair = Lanes.loadInts(w, g + stride + Lanes.LENGTH);
      weights = lower(pair);
      b10 = s0.fma(weights, b10);
      b11 = s1.fma(weights, b11);
      weights = upper(pair, mask);
      b10 = t0.fma(weights, b10);
      b11 = t1.fma(weights, b11);
    }
    PanelTile.put(sums, lane, a00, b00);
    PanelTile.put(sums, lane + PanelMatrix.WIDTH, a01, b01);
    PanelTile.put(sums, lane + 2 * PanelMatrix.WIDTH, a10, b10);
    PanelTile.put(sums, lane + 3 * PanelMatrix.WIDTH, a11, b11);
  }

  /** The first of two BF16 values. */
  private static FloatVector lower(IntVector pair) {
    return pair.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
  }

  /** The second of two BF16 values. */
  private static FloatVector upper(IntVector pair, IntVector mask) {
    return pair.and(mask).reinterpretAsFloats();
  }

  // More rows: any type.

  private void two(float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int inputs) {
    FloatVector zero = VectorMath.zero();
    IntVector mask = IntVector.broadcast(Lanes.INTS, bits);
    FloatVector a0 = zero;
    FloatVector b0 = zero;
    FloatVector a1 = zero;
    FloatVector b1 = zero;
    for (int i = 0, q = from; i < inputs; i += 2, q += 4) {
      int p = group(at, i);
      int shift = shift(i);
      IntVector front = Lanes.loadInts(w, p);
      IntVector back = Lanes.loadInts(w, p + Lanes.LENGTH);
      FloatVector a = decode(front, shift, mask);
      FloatVector b = decode(back, shift, mask);
      FloatVector s = VectorMath.splat(x[q]);
      a0 = s.fma(a, a0);
      b0 = s.fma(b, b0);
      s = VectorMath.splat(x[q + 1]);
      a1 = s.fma(a, a1);
      b1 = s.fma(b, b1);
      a = decode(front, shift - weightBits, mask);
      b = decode(back, shift - weightBits, mask);
      s = VectorMath.splat(x[q + 2]);
      a0 = s.fma(a, a0);
      b0 = s.fma(b, b0);
      s = VectorMath.splat(x[q + 3]);
      a1 = s.fma(a, a1);
      b1 = s.fma(b, b1);
    }
    PanelTile.put(sums, lane, a0, b0);
    PanelTile.put(sums, lane + PanelMatrix.WIDTH, a1, b1);
  }

  private void four(float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int inputs) {
    FloatVector zero = VectorMath.zero();
    IntVector mask = IntVector.broadcast(Lanes.INTS, bits);
    FloatVector a0 = zero;
    FloatVector b0 = zero;
    FloatVector a1 = zero;
    FloatVector b1 = zero;
    FloatVector a2 = zero;
    FloatVector b2 = zero;
    FloatVector a3 = zero;
    FloatVector b3 = zero;
    for (int i = 0, q = from; i < inputs; i++, q += 4) {
      int p = group(at, i);
      int shift = shift(i);
      FloatVector a = decode(Lanes.loadInts(w, p), shift, mask);
      FloatVector b = decode(Lanes.loadInts(w, p + Lanes.LENGTH), shift, mask);
      FloatVector s = VectorMath.splat(x[q]);
      a0 = s.fma(a, a0);
      b0 = s.fma(b, b0);
      s = VectorMath.splat(x[q + 1]);
      a1 = s.fma(a, a1);
      b1 = s.fma(b, b1);
      s = VectorMath.splat(x[q + 2]);
      a2 = s.fma(a, a2);
      b2 = s.fma(b, b2);
      s = VectorMath.splat(x[q + 3]);
      a3 = s.fma(a, a3);
      b3 = s.fma(b, b3);
    }
    PanelTile.put(sums, lane, a0, b0);
    PanelTile.put(sums, lane + PanelMatrix.WIDTH, a1, b1);
    PanelTile.put(sums, lane + 2 * PanelMatrix.WIDTH, a2, b2);
    PanelTile.put(sums, lane + 3 * PanelMatrix.WIDTH, a3, b3);
  }

  private void eight(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int inputs) {
    FloatVector zero = VectorMath.zero();
    IntVector mask = IntVector.broadcast(Lanes.INTS, bits);
    FloatVector a0 = zero;
    FloatVector b0 = zero;
    FloatVector a1 = zero;
    FloatVector b1 = zero;
    FloatVector a2 = zero;
    FloatVector b2 = zero;
    FloatVector a3 = zero;
    FloatVector b3 = zero;
    FloatVector a4 = zero;
    FloatVector b4 = zero;
    FloatVector a5 = zero;
    FloatVector b5 = zero;
    FloatVector a6 = zero;
    FloatVector b6 = zero;
    FloatVector a7 = zero;
    FloatVector b7 = zero;
    for (int i = 0, q = from; i < inputs; i++, q += 8) {
      int p = group(at, i);
      int shift = shift(i);
      FloatVector a = decode(Lanes.loadInts(w, p), shift, mask);
      FloatVector b = decode(Lanes.loadInts(w, p + Lanes.LENGTH), shift, mask);
      FloatVector s = VectorMath.splat(x[q]);
      a0 = s.fma(a, a0);
      b0 = s.fma(b, b0);
      s = VectorMath.splat(x[q + 1]);
      a1 = s.fma(a, a1);
      b1 = s.fma(b, b1);
      s = VectorMath.splat(x[q + 2]);
      a2 = s.fma(a, a2);
      b2 = s.fma(b, b2);
      s = VectorMath.splat(x[q + 3]);
      a3 = s.fma(a, a3);
      b3 = s.fma(b, b3);
      s = VectorMath.splat(x[q + 4]);
      a4 = s.fma(a, a4);
      b4 = s.fma(b, b4);
      s = VectorMath.splat(x[q + 5]);
      a5 = s.fma(a, a5);
      b5 = s.fma(b, b5);
      s = VectorMath.splat(x[q + 6]);
      a6 = s.fma(a, a6);
      b6 = s.fma(b, b6);
      s = VectorMath.splat(x[q + 7]);
      a7 = s.fma(a, a7);
      b7 = s.fma(b, b7);
    }
    PanelTile.put(sums, lane, a0, b0);
    PanelTile.put(sums, lane + PanelMatrix.WIDTH, a1, b1);
    PanelTile.put(sums, lane + 2 * PanelMatrix.WIDTH, a2, b2);
    PanelTile.put(sums, lane + 3 * PanelMatrix.WIDTH, a3, b3);
    PanelTile.put(sums, lane + 4 * PanelMatrix.WIDTH, a4, b4);
    PanelTile.put(sums, lane + 5 * PanelMatrix.WIDTH, a5, b5);
    PanelTile.put(sums, lane + 6 * PanelMatrix.WIDTH, a6, b6);
    PanelTile.put(sums, lane + 7 * PanelMatrix.WIDTH, a7, b7);
  }

  /** Group of an input; {@code at} is that of input 0. */
  private int group(int at, int input) {
    return at + (input >> groupShift) * PanelMatrix.WIDTH;
  }

  /** How far below the top of its group an input's weight is. */
  private int shift(int input) {
    return Integer.SIZE - weightBits * (1 + (input & ((1 << groupShift) - 1)));
  }

  private FloatVector decode(IntVector groups, int shift, IntVector mask) {
    return groups
        .lanewise(VectorOperators.LSHL, shift)
        .lanewise(VectorOperators.ASHR, signBits)
        .and(mask)
        .reinterpretAsFloats();
  }

  /** E4M3 codes at the top of their lanes. */
  private static FloatVector code(IntVector codes, IntVector mask) {
    return codes.lanewise(VectorOperators.ASHR, E4M3_SIGN_BITS).and(mask).reinterpretAsFloats();
  }
}
