package io.sparkmoe.kernel;

import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;

/**
 * Tiles of F32 weights as they lie in memory. Written out, because sums in an array of vectors
 * would live in memory instead of registers.
 */
final class VectorWideTiles {

  private VectorWideTiles() {}

  /** {@link PanelDecoder} of F32 weights: a copy. */
  static void decode(float[] to, int at, ByteBuffer w, int from, int inputs, float scale) {
    w.asFloatBuffer().get(from, to, at, inputs * PanelMatrix.WIDTH);
  }

  /** One row by one panel. */
  static void one(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
    FloatVector a0 = VectorMath.zero();
    FloatVector b0 = VectorMath.zero();
    for (int i = 0, p = at; i < inputs; i++, p += PanelMatrix.WIDTH) {
      FloatVector s = VectorMath.splat(x[from + i]);
      a0 = s.fma(Lanes.load(w, p), a0);
      b0 = s.fma(Lanes.load(w, p + Lanes.LENGTH), b0);
    }
    PanelTile.put(sums, lane, a0, b0);
  }

  /** One row by four panels. */
  static void onePanels(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs) {
    FloatVector a0 = VectorMath.zero();
    FloatVector b0 = VectorMath.zero();
    FloatVector a1 = VectorMath.zero();
    FloatVector b1 = VectorMath.zero();
    FloatVector a2 = VectorMath.zero();
    FloatVector b2 = VectorMath.zero();
    FloatVector a3 = VectorMath.zero();
    FloatVector b3 = VectorMath.zero();
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
    FloatVector a00 = VectorMath.zero();
    FloatVector b00 = VectorMath.zero();
    FloatVector a01 = VectorMath.zero();
    FloatVector b01 = VectorMath.zero();
    FloatVector a10 = VectorMath.zero();
    FloatVector b10 = VectorMath.zero();
    FloatVector a11 = VectorMath.zero();
    FloatVector b11 = VectorMath.zero();
    FloatVector a20 = VectorMath.zero();
    FloatVector b20 = VectorMath.zero();
    FloatVector a21 = VectorMath.zero();
    FloatVector b21 = VectorMath.zero();
    FloatVector a30 = VectorMath.zero();
    FloatVector b30 = VectorMath.zero();
    FloatVector a31 = VectorMath.zero();
    FloatVector b31 = VectorMath.zero();
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
