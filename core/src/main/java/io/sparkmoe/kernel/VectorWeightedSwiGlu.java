package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;

/** Fast SwiGLU of weighted rows, forward and backward. T rows, F width. */
final class VectorWeightedSwiGlu {

  private final Parallel parallel;

  VectorWeightedSwiGlu(Parallel parallel) {
    this.parallel = parallel;
  }

  void forward(Tensor h, Tensor gateUp, Tensor weight) {
    int f = h.cols();
    ByteBuffer to = h.bytes();
    ByteBuffer from = gateUp.bytes();
    Pieces.forEach(
        parallel,
        h.rows(),
        Pieces.rowGrain(2 * f),
        (first, end) -> {
          for (int t = first; t < end; t++) {
            row(to, t * f, from, 2 * t * f, weight == null ? 1 : weight.getFloat(t), f);
          }
        });
  }

  private static void row(
      ByteBuffer h, int hStart, ByteBuffer gateUp, int gStart, float weight, int f) {
    int bound = Lanes.FLOATS.loopBound(f);
    FloatVector w = VectorMath.splat(weight);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector g = Lanes.load(gateUp, gStart + i);
      FloatVector u = Lanes.load(gateUp, gStart + f + i);
      Lanes.store(h, hStart + i, w.mul(g).mul(u).div(VectorMath.exp(g.neg()).add(1)));
    }
    for (int i = bound; i < f; i++) {
      float g = Lanes.get(gateUp, gStart + i);
      float u = Lanes.get(gateUp, gStart + f + i);
      Lanes.set(h, hStart + i, weight * g * VectorMath.sigmoid(g) * u);
    }
  }

  void backward(Tensor dGateUp, Tensor dWeight, Tensor h, Tensor dh, Tensor gateUp, Tensor weight) {
    int f = dh.cols();
    Pieces.forEach(
        parallel,
        dh.rows(),
        Pieces.rowGrain(2 * f),
        (first, end) -> {
          for (int t = first; t < end; t++) {
            float w = weight == null ? 1 : weight.getFloat(t);
            float dw =
                backwardRow(
                    dGateUp.bytes(), h.bytes(), dh.bytes(), t * f, gateUp.bytes(), 2 * t * f, w, f);
            if (dWeight != null) {
              dWeight.setFloat(t, dw);
            }
          }
        });
  }

  /**
   * forward: h = w g s u with s = sigmoid(g); so dw = sum dh g s u, dg = w dh u s (1 + g (1 - s))
   * and du = w dh g s.
   */
  private static float backwardRow(
      ByteBuffer dGateUp,
      ByteBuffer h,
      ByteBuffer dh,
      int hStart,
      ByteBuffer gateUp,
      int gStart,
      float weight,
      int f) {
    int bound = Lanes.FLOATS.loopBound(f);
    FloatVector one = VectorMath.splat(1);
    FloatVector w = VectorMath.splat(weight);
    FloatVector sum = VectorMath.zero();
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector g = Lanes.load(gateUp, gStart + i);
      FloatVector u = Lanes.load(gateUp, gStart + f + i);
      FloatVector s = VectorMath.sigmoid(g);
      FloatVector d = Lanes.load(dh, hStart + i);
      FloatVector gsu = g.mul(s).mul(u);
      FloatVector wds = w.mul(d).mul(s);
      FloatVector slope = VectorMath.fma(g, one.sub(s), one);
      sum = VectorMath.fma(d, gsu, sum);
      Lanes.store(dGateUp, gStart + i, wds.mul(u).mul(slope));
      Lanes.store(dGateUp, gStart + f + i, wds.mul(g));
      Lanes.store(h, hStart + i, w.mul(gsu));
    }
    float total = VectorMath.sum(sum);
    for (int i = bound; i < f; i++) {
      float g = Lanes.get(gateUp, gStart + i);
      float u = Lanes.get(gateUp, gStart + f + i);
      float s = VectorMath.sigmoid(g);
      float d = Lanes.get(dh, hStart + i);
      total += d * g * s * u;
      Lanes.set(dGateUp, gStart + i, weight * d * s * u * (1 + g * (1 - s)));
      Lanes.set(dGateUp, gStart + f + i, weight * d * s * g);
      Lanes.set(h, hStart + i, weight * g * s * u);
    }
    return total;
  }
}
