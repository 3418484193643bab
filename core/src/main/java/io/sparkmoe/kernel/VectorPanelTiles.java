package io.sparkmoe.kernel;

import jdk.incubator.vector.FloatVector;

/**
 * {@link PanelTile} of one, two, four and eight rows. Every weight is loaded once for all rows of
 * its tile. Written out, because sums in an array of vectors would live in memory instead of
 * registers.
 */
final class VectorPanelTiles {

  private VectorPanelTiles() {}

  static void one(float[] sums, int lane, float[] x, int from, float[] w, int inputs) {
    FloatVector a0 = VectorMath.zero();
    FloatVector b0 = VectorMath.zero();
    for (int i = 0, p = lane, q = from; i < inputs; i++, p += PanelMatrix.WIDTH, q += 1) {
      FloatVector a = FloatVector.fromArray(Lanes.FLOATS, w, p);
      FloatVector b = FloatVector.fromArray(Lanes.FLOATS, w, p + Lanes.LENGTH);
      FloatVector s = VectorMath.splat(x[q]);
      a0 = s.fma(a, a0);
      b0 = s.fma(b, b0);
    }
    PanelTile.put(sums, lane, a0, b0);
  }

  static void two(float[] sums, int lane, float[] x, int from, float[] w, int inputs) {
    FloatVector a0 = VectorMath.zero();
    FloatVector b0 = VectorMath.zero();
    FloatVector a1 = VectorMath.zero();
    FloatVector b1 = VectorMath.zero();
    for (int i = 0, p = lane, q = from; i < inputs; i++, p += PanelMatrix.WIDTH, q += 2) {
      FloatVector a = FloatVector.fromArray(Lanes.FLOATS, w, p);
      FloatVector b = FloatVector.fromArray(Lanes.FLOATS, w, p + Lanes.LENGTH);
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

  static void four(float[] sums, int lane, float[] x, int from, float[] w, int inputs) {
    FloatVector a0 = VectorMath.zero();
    FloatVector b0 = VectorMath.zero();
    FloatVector a1 = VectorMath.zero();
    FloatVector b1 = VectorMath.zero();
    FloatVector a2 = VectorMath.zero();
    FloatVector b2 = VectorMath.zero();
    FloatVector a3 = VectorMath.zero();
    FloatVector b3 = VectorMath.zero();
    for (int i = 0, p = lane, q = from; i < inputs; i++, p += PanelMatrix.WIDTH, q += 4) {
      FloatVector a = FloatVector.fromArray(Lanes.FLOATS, w, p);
      FloatVector b = FloatVector.fromArray(Lanes.FLOATS, w, p + Lanes.LENGTH);
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

  static void eight(float[] sums, int lane, float[] x, int from, float[] w, int inputs) {
    FloatVector a0 = VectorMath.zero();
    FloatVector b0 = VectorMath.zero();
    FloatVector a1 = VectorMath.zero();
    FloatVector b1 = VectorMath.zero();
    FloatVector a2 = VectorMath.zero();
    FloatVector b2 = VectorMath.zero();
    FloatVector a3 = VectorMath.zero();
    FloatVector b3 = VectorMath.zero();
    FloatVector a4 = VectorMath.zero();
    FloatVector b4 = VectorMath.zero();
    FloatVector a5 = VectorMath.zero();
    FloatVector b5 = VectorMath.zero();
    FloatVector a6 = VectorMath.zero();
    FloatVector b6 = VectorMath.zero();
    FloatVector a7 = VectorMath.zero();
    FloatVector b7 = VectorMath.zero();
    for (int i = 0, p = lane, q = from; i < inputs; i++, p += PanelMatrix.WIDTH, q += 8) {
      FloatVector a = FloatVector.fromArray(Lanes.FLOATS, w, p);
      FloatVector b = FloatVector.fromArray(Lanes.FLOATS, w, p + Lanes.LENGTH);
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
}
