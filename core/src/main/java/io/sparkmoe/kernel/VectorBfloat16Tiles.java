package io.sparkmoe.kernel;

import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Tiles of BF16 weights, decoded in registers. A 32-bit lane holds the weights of one output for
 * two neighbouring inputs, so that decoding moves nothing across lanes: a BF16 value is the upper
 * half of a float. Each tile has a loop over the two, because written out the larger ones exceed
 * what the compiler inlines, and vectors become objects.
 */
final class VectorBfloat16Tiles {

  private static final int BITS = 0xFFFF0000;

  private VectorBfloat16Tiles() {}

  /** One row by one panel. */
  static void one(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
    IntVector mask = IntVector.broadcast(Lanes.INTS, BITS);
    FloatVector zero = FloatVector.zero(Lanes.FLOATS);
    FloatVector a0 = zero;
    FloatVector b0 = zero;
    for (int i = 0, p = at, q = from; i < inputs; i += 2, p += PanelMatrix.WIDTH) {
      IntVector front = Lanes.loadInts(w, p);
      IntVector back = Lanes.loadInts(w, p + Lanes.LENGTH);
      for (int shift = Short.SIZE; shift >= 0; shift -= Short.SIZE, q += 1) {
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
    for (int i = 0, p = at, q = from; i < inputs; i += 2, p += PanelMatrix.WIDTH) {
      IntVector front = Lanes.loadInts(w, p);
      IntVector back = Lanes.loadInts(w, p + Lanes.LENGTH);
      for (int shift = Short.SIZE; shift >= 0; shift -= Short.SIZE, q += 2) {
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
    for (int i = 0, p = at, q = from; i < inputs; i += 2, p += PanelMatrix.WIDTH) {
      IntVector front = Lanes.loadInts(w, p);
      IntVector back = Lanes.loadInts(w, p + Lanes.LENGTH);
      for (int shift = Short.SIZE; shift >= 0; shift -= Short.SIZE, q += 4) {
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
    for (int i = 0, p = at, q = from; i < inputs; i += 2, p += PanelMatrix.WIDTH) {
      IntVector front = Lanes.loadInts(w, p);
      IntVector back = Lanes.loadInts(w, p + Lanes.LENGTH);
      for (int shift = Short.SIZE; shift >= 0; shift -= Short.SIZE, q += 8) {
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
   * One of two BF16 values.
   *
   * @param shift what moves it to the top of its lane
   */
  private static FloatVector decode(IntVector pair, int shift, IntVector mask) {
    return pair.lanewise(VectorOperators.LSHL, shift).and(mask).reinterpretAsFloats();
  }
}
