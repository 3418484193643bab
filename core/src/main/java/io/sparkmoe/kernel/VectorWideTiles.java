package io.sparkmoe.kernel;

import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;

/**
 * Tiles of F32 weights as they lie in memory. Written out, because sums in an array of vectors
 * would live in memory instead of registers.
 */
final class VectorWideTiles {

  private VectorWideTiles() {}

  /** One row by one panel. */
  static void one(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
    FloatVector zero = FloatVector.zero(Lanes.FLOATS);
    FloatVector a0 = zero;
    FloatVector b0 = zero;
    for (int i = 0, p = at, q = from; i < inputs; i++, p += PanelMatrix.WIDTH, q += 1) {
      FloatVector a = Lanes.load(w, p);
      FloatVector b = Lanes.load(w, p + Lanes.LENGTH);
      FloatVector s = VectorMath.splat(x[q]);
      a0 = s.fma(a, a0);
      b0 = s.fma(b, b0);
    }
    PanelTile.put(sums, lane, a0, b0);
  }

  /** Two rows by one panel. */
  static void two(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
    FloatVector zero = FloatVector.zero(Lanes.FLOATS);
    FloatVector a0 = zero;
    FloatVector b0 = zero;
    FloatVector a1 = zero;
    FloatVector b1 = zero;
    for (int i = 0, p = at, q = from; i < inputs; i++, p += PanelMatrix.WIDTH, q += 2) {
      FloatVector a = Lanes.load(w, p);
      FloatVector b = Lanes.load(w, p + Lanes.LENGTH);
      FloatVector s = VectorMath.splat(x[q]);
      a0 = s.fma(a, a0);
      b0 = s.fma(b, b0);
      s = VectorMath.splat(x[q + 1]);
      a1 = s.fma(a, a1);
      b1 = s.fma(b, b1);
    }
    PanelTile.put(sums, lane, a0, b0);
    PanelTile.put(sums, lane + PanelMatrix.WIDTH, a1, b1);
  }

  /** Four rows by one panel. */
  static void four(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
    FloatVector zero = FloatVector.zero(Lanes.FLOATS);
    FloatVector a0 = zero;
    FloatVector b0 = zero;
    FloatVector a1 = zero;
    FloatVector b1 = zero;
    FloatVector a2 = zero;
    FloatVector b2 = zero;
    FloatVector a3 = zero;
    FloatVector b3 = zero;
    for (int i = 0, p = at, q = from; i < inputs; i++, p += PanelMatrix.WIDTH, q += 4) {
      FloatVector a = Lanes.load(w, p);
      FloatVector b = Lanes.load(w, p + Lanes.LENGTH);
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

  /** Eight rows by one panel. */
  static void eight(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
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
    for (int i = 0, p = at, q = from; i < inputs; i++, p += PanelMatrix.WIDTH, q += 8) {
      FloatVector a = Lanes.load(w, p);
      FloatVector b = Lanes.load(w, p + Lanes.LENGTH);
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

  /** One row by four panels. */
  static void onePanels(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
    FloatVector zero = FloatVector.zero(Lanes.FLOATS);
    FloatVector a0 = zero;
    FloatVector b0 = zero;
    FloatVector a1 = zero;
    FloatVector b1 = zero;
    FloatVector a2 = zero;
    FloatVector b2 = zero;
    FloatVector a3 = zero;
    FloatVector b3 = zero;
    for (int i = 0, p = at; i < inputs; i++, p += PanelMatrix.WIDTH) {
      FloatVector s = VectorMath.splat(x[from + i]);
      a0 = s.fma(Lanes.load(w, p), a0);
      b0 = s.fma(Lanes.load(w, p + Lanes.LENGTH), b0);
      a1 = s.fma(Lanes.load(w, p + stride), a1);
      b1 = s.fma(Lanes.load(w, p + stride + Lanes.LENGTH), b1);
      a2 = s.fma(Lanes.load(w, p + 2 * stride), a2);
      b2 = s.fma(Lanes.load(w, p + 2 * stride + Lanes.LENGTH), b2);
      a3 = s.fma(Lanes.load(w, p + 3 * stride), a3);
      b3 = s.fma(Lanes.load(w, p + 3 * stride + Lanes.LENGTH), b3);
    }
    PanelTile.put(sums, lane, a0, b0);
    PanelTile.put(sums, lane + PanelMatrix.WIDTH, a1, b1);
    PanelTile.put(sums, lane + 2 * PanelMatrix.WIDTH, a2, b2);
    PanelTile.put(sums, lane + 3 * PanelMatrix.WIDTH, a3, b3);
  }

  /** Two rows by four panels. */
  static void twoPanels(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
    FloatVector zero = FloatVector.zero(Lanes.FLOATS);
    FloatVector a00 = zero;
    FloatVector b00 = zero;
    FloatVector a01 = zero;
    FloatVector b01 = zero;
    FloatVector a10 = zero;
    FloatVector b10 = zero;
    FloatVector a11 = zero;
    FloatVector b11 = zero;
    FloatVector a20 = zero;
    FloatVector b20 = zero;
    FloatVector a21 = zero;
    FloatVector b21 = zero;
    FloatVector a30 = zero;
    FloatVector b30 = zero;
    FloatVector a31 = zero;
    FloatVector b31 = zero;
    for (int i = 0, g = at, q = from; i < inputs; i++, g += PanelMatrix.WIDTH, q += 2) {
      FloatVector s = VectorMath.splat(x[q]);
      FloatVector t = VectorMath.splat(x[q + 1]);
      FloatVector weights = Lanes.load(w, g);
      a00 = s.fma(weights, a00);
      a01 = t.fma(weights, a01);
      weights = Lanes.load(w, g + Lanes.LENGTH);
      b00 = s.fma(weights, b00);
      b01 = t.fma(weights, b01);
      weights = Lanes.load(w, g + stride);
      a10 = s.fma(weights, a10);
      a11 = t.fma(weights, a11);
      weights = Lanes.load(w, g + stride + Lanes.LENGTH);
      b10 = s.fma(weights, b10);
      b11 = t.fma(weights, b11);
      weights = Lanes.load(w, g + 2 * stride);
      a20 = s.fma(weights, a20);
      a21 = t.fma(weights, a21);
      weights = Lanes.load(w, g + 2 * stride + Lanes.LENGTH);
      b20 = s.fma(weights, b20);
      b21 = t.fma(weights, b21);
      weights = Lanes.load(w, g + 3 * stride);
      a30 = s.fma(weights, a30);
      a31 = t.fma(weights, a31);
      weights = Lanes.load(w, g + 3 * stride + Lanes.LENGTH);
      b30 = s.fma(weights, b30);
      b31 = t.fma(weights, b31);
    }
    PanelTile.put(sums, lane, a00, b00);
    PanelTile.put(sums, lane + PanelMatrix.WIDTH, a01, b01);
    PanelTile.put(sums, lane + 2 * PanelMatrix.WIDTH, a10, b10);
    PanelTile.put(sums, lane + 3 * PanelMatrix.WIDTH, a11, b11);
    PanelTile.put(sums, lane + 4 * PanelMatrix.WIDTH, a20, b20);
    PanelTile.put(sums, lane + 5 * PanelMatrix.WIDTH, a21, b21);
    PanelTile.put(sums, lane + 6 * PanelMatrix.WIDTH, a30, b30);
    PanelTile.put(sums, lane + 7 * PanelMatrix.WIDTH, a31, b31);
  }
}
