package io.sparkmoe.kernel;

import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Weights narrower than a float: tiles of few rows that decode them in registers, and decoders of
 * whole panels for more rows. A 32-bit lane holds the weights of one output for two or four
 * neighbouring inputs, so that decoding moves nothing across lanes: a weight is shifted left to the
 * top of its lane, then right to spread its sign and make room for a float's longer exponent, and
 * the rest is cleared. A BF16 value is the upper half of a float. An E4M3 code becomes its value
 * times 2^-120, the difference of the two biases; subnormal codes become subnormal floats, so that
 * no code is a special case.
 *
 * <p>The one row of an FP8 tile is multiplied by the power-of-two scale of its weights and by
 * {@link #E4M3_FACTOR} beforehand, and its sums by that factor afterwards, instead of every weight
 * by 2^120. All that is exact: sums have the bits of those over decoded weights, as long as inputs
 * times scale stay below 2^67 and sums, where they are not zero, above 2^-66.
 */
final class VectorPackedTiles {

  /** Half of what a decoded E4M3 code lacks: 2^60 in the inputs, 2^60 in the sums. */
  static final float E4M3_FACTOR = 0x1p60f;

  /** Copies of the sign that make room for a float's exponent. */
  private static final int E4M3_SIGN_BITS = 4;

  private static final int E4M3_BITS = 0x87F00000;

  private static final int BF16_BITS = 0xFFFF0000;

  private VectorPackedTiles() {}

  /** One row by one panel of BF16 weights. */
  static void oneBfloat16(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
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

  /** One row by one panel of FP8 weights. */
  static void oneFp8(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
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

  /** {@link PanelDecoder} of BF16 weights, which have no scale. */
  static void decodeBfloat16(float[] to, int at, ByteBuffer w, int from, int inputs, float scale) {
    IntVector mask = IntVector.broadcast(Lanes.INTS, BF16_BITS);
    int groups = inputs / 2 * PanelMatrix.WIDTH;
    for (int g = 0; g < groups; g += Lanes.LENGTH) {
      IntVector pair = Lanes.loadInts(w, from + g);
      // Its inputs' rows follow twice the rows of groups before.
      int first = at + g + (g & -PanelMatrix.WIDTH);
      lower(pair).intoArray(to, first);
      upper(pair, mask).intoArray(to, first + PanelMatrix.WIDTH);
    }
  }

  /** {@link PanelDecoder} of FP8 weights. */
  static void decodeFp8(float[] to, int at, ByteBuffer w, int from, int inputs, float scale) {
    IntVector mask = IntVector.broadcast(Lanes.INTS, E4M3_BITS);
    FloatVector factor = VectorMath.splat(scale * E4M3_FACTOR);
    int groups = inputs / 4 * PanelMatrix.WIDTH;
    for (int g = 0; g < groups; g += Lanes.LENGTH) {
      IntVector four = Lanes.loadInts(w, from + g);
      int first = at + g + 3 * (g & -PanelMatrix.WIDTH);
      value(four.lanewise(VectorOperators.LSHL, 24), mask, factor).intoArray(to, first);
      value(four.lanewise(VectorOperators.LSHL, 16), mask, factor)
          .intoArray(to, first + PanelMatrix.WIDTH);
      value(four.lanewise(VectorOperators.LSHL, 8), mask, factor)
          .intoArray(to, first + 2 * PanelMatrix.WIDTH);
      value(four, mask, factor).intoArray(to, first + 3 * PanelMatrix.WIDTH);
    }
  }

  /**
   * E4M3 codes at the top of their lanes, times what they lack and their scale.
   *
   * @param factor {@link #E4M3_FACTOR} times the scale
   */
  private static FloatVector value(IntVector codes, IntVector mask, FloatVector factor) {
    return code(codes, mask).mul(E4M3_FACTOR).mul(factor);
  }

  /** The first of two BF16 values. */
  private static FloatVector lower(IntVector pair) {
    return pair.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
  }

  /** The second of two BF16 values. */
  private static FloatVector upper(IntVector pair, IntVector mask) {
    return pair.and(mask).reinterpretAsFloats();
  }

  /** E4M3 codes at the top of their lanes. */
  private static FloatVector code(IntVector codes, IntVector mask) {
    return codes.lanewise(VectorOperators.ASHR, E4M3_SIGN_BITS).and(mask).reinterpretAsFloats();
  }
}
