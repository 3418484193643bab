package io.sparkmoe.kernel;

import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Tiles of FP8 weights, decoded in registers, and a decoder of whole panels for more rows. A 32-bit
 * lane holds the weights of one output for four neighbouring inputs, so that decoding moves nothing
 * across lanes: a code is shifted left to the top of its lane, then right to spread its sign and
 * make room for a float's longer exponent, and the rest is cleared. An E4M3 code becomes its value
 * times 2^-120, the difference of the two biases; subnormal codes become subnormal floats, so that
 * no code is a special case. Each tile has a loop over the four codes, because written out the
 * larger ones exceed what the compiler inlines, and vectors become objects.
 *
 * <p>The rows of a tile are multiplied by the power-of-two scale of its weights and by {@link
 * #FACTOR} beforehand, and its sums by that factor afterwards, instead of every weight by 2^120.
 * All that is exact: sums have the bits of those over decoded weights, as long as inputs times
 * scale stay below 2^67 and sums, where they are not zero, above 2^-66.
 */
final class VectorFp8Tiles {

  /** Half of what a decoded E4M3 code lacks: 2^60 in the inputs, 2^60 in the sums. */
  static final float FACTOR = 0x1p60f;

  /** Copies of the sign that make room for a float's exponent. */
  private static final int SIGN_BITS = 4;

  private static final int BITS = 0x87F00000;

  /** What moves the first code to the top of its lane. */
  private static final int TOP = Integer.SIZE - Byte.SIZE;

  private VectorFp8Tiles() {}

  /** One row by one panel. */
  static void one(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
    IntVector mask = IntVector.broadcast(Lanes.INTS, BITS);
    FloatVector zero = FloatVector.zero(Lanes.FLOATS);
    FloatVector a0 = zero;
    FloatVector b0 = zero;
    for (int i = 0, p = at, q = from; i < inputs; i += 4, p += PanelMatrix.WIDTH) {
      IntVector front = Lanes.loadInts(w, p);
      IntVector back = Lanes.loadInts(w, p + Lanes.LENGTH);
      for (int shift = TOP; shift >= 0; shift -= Byte.SIZE, q += 1) {
        FloatVector a = decode(front, shift, mask);
        FloatVector b = decode(back, shift, mask);
        FloatVector s = VectorMath.splat(x[q]);
        a0 = s.fma(a, a0);
        b0 = s.fma(b, b0);
      }
    }
    PanelTile.put(sums, lane, a0, b0);
  }

  /** Two rows by one panel. */
  static void two(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
    IntVector mask = IntVector.broadcast(Lanes.INTS, BITS);
    FloatVector zero = FloatVector.zero(Lanes.FLOATS);
    FloatVector a0 = zero;
    FloatVector b0 = zero;
    FloatVector a1 = zero;
    FloatVector b1 = zero;
    for (int i = 0, p = at, q = from; i < inputs; i += 4, p += PanelMatrix.WIDTH) {
      IntVector front = Lanes.loadInts(w, p);
      IntVector back = Lanes.loadInts(w, p + Lanes.LENGTH);
      for (int shift = TOP; shift >= 0; shift -= Byte.SIZE, q += 2) {
        FloatVector a = decode(front, shift, mask);
        FloatVector b = decode(back, shift, mask);
        FloatVector s = VectorMath.splat(x[q]);
        a0 = s.fma(a, a0);
        b0 = s.fma(b, b0);
        s = VectorMath.splat(x[q + 1]);
        a1 = s.fma(a, a1);
        b1 = s.fma(b, b1);
      }
    }
    PanelTile.put(sums, lane, a0, b0);
    PanelTile.put(sums, lane + PanelMatrix.WIDTH, a1, b1);
  }

  /** Four rows by one panel. */
  static void four(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
    IntVector mask = IntVector.broadcast(Lanes.INTS, BITS);
    FloatVector zero = FloatVector.zero(Lanes.FLOATS);
    FloatVector a0 = zero;
    FloatVector b0 = zero;
    FloatVector a1 = zero;
    FloatVector b1 = zero;
    FloatVector a2 = zero;
    FloatVector b2 = zero;
    FloatVector a3 = zero;
    FloatVector b3 = zero;
    for (int i = 0, p = at, q = from; i < inputs; i += 4, p += PanelMatrix.WIDTH) {
      IntVector front = Lanes.loadInts(w, p);
      IntVector back = Lanes.loadInts(w, p + Lanes.LENGTH);
      for (int shift = TOP; shift >= 0; shift -= Byte.SIZE, q += 4) {
        FloatVector a = decode(front, shift, mask);
        FloatVector b = decode(back, shift, mask);
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
    }
    PanelTile.put(sums, lane, a0, b0);
    PanelTile.put(sums, lane + PanelMatrix.WIDTH, a1, b1);
    PanelTile.put(sums, lane + 2 * PanelMatrix.WIDTH, a2, b2);
    PanelTile.put(sums, lane + 3 * PanelMatrix.WIDTH, a3, b3);
  }

  /** Eight rows by one panel. */
  static void eight(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
    IntVector mask = IntVector.broadcast(Lanes.INTS, BITS);
    FloatVector zero = FloatVector.zero(Lanes.FLOATS);
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
    for (int i = 0, p = at, q = from; i < inputs; i += 4, p += PanelMatrix.WIDTH) {
      IntVector front = Lanes.loadInts(w, p);
      IntVector back = Lanes.loadInts(w, p + Lanes.LENGTH);
      for (int shift = TOP; shift >= 0; shift -= Byte.SIZE, q += 8) {
        FloatVector a = decode(front, shift, mask);
        FloatVector b = decode(back, shift, mask);
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

  /**
   * Writes a panel's weights as BF16 in groups of two: exactly, since they are four bits of
   * significand times a power of two, for scales from 2^-124 on.
   *
   * @param at group of {@code to} that receives output 0 of the first two inputs
   * @param w codes in groups of four
   * @param from group of {@code w} that belongs to output 0 and the first inputs
   * @param inputs of whole groups, under one scale
   * @param scale of the weights
   */
  static void toBfloat16(ByteBuffer to, int at, ByteBuffer w, int from, int inputs, float scale) {
    IntVector mask = IntVector.broadcast(Lanes.INTS, BITS);
    IntVector upper = IntVector.broadcast(Lanes.INTS, -1 << Short.SIZE);
    FloatVector factor = VectorMath.splat(scale * FACTOR);
    int groups = inputs / Integer.BYTES * PanelMatrix.WIDTH;
    for (int g = 0; g < groups; g += Lanes.LENGTH) {
      IntVector four = Lanes.loadInts(w, from + g);
      // Its inputs' rows follow twice the rows of groups before.
      int pair = at + g + (g & -PanelMatrix.WIDTH);
      for (int shift = TOP; shift > 0; shift -= Short.SIZE, pair += PanelMatrix.WIDTH) {
        IntVector first = scaled(decode(four, shift, mask), factor);
        IntVector second = scaled(decode(four, shift - Byte.SIZE, mask), factor);
        Lanes.storeInts(
            to, pair, first.lanewise(VectorOperators.LSHR, Short.SIZE).or(second.and(upper)));
      }
    }
  }

  /** Bits of decoded weights times what they lack and their scale. */
  private static IntVector scaled(FloatVector decoded, FloatVector factor) {
    return decoded.mul(FACTOR).mul(factor).reinterpretAsInts();
  }

  /**
   * One of four E4M3 codes.
   *
   * @param shift what moves it to the top of its lane
   */
  private static FloatVector decode(IntVector four, int shift, IntVector mask) {
    return four.lanewise(VectorOperators.LSHL, shift)
        .lanewise(VectorOperators.ASHR, SIGN_BITS)
        .and(mask)
        .reinterpretAsFloats();
  }
}
