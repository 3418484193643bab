package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;

/** Fast SwiGLU, forward and backward. T tokens, F width. */
final class VectorSwiGlu {

  private final Parallel parallel;
  private final ThreadLocal<Scratch> sigmoids = ThreadLocal.withInitial(Scratch::new);

  VectorSwiGlu(Parallel parallel) {
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
            int at = 2 * t * f;
            row(to, t * f, from, at, from, at + f, weight == null ? 1 : weight.getFloat(t), f);
          }
        });
  }

  /** {@code h = weight * silu(gate) * up} of {@code count} elements. */
  static void row(
      ByteBuffer h,
      int hStart,
      ByteBuffer gate,
      int gStart,
      ByteBuffer up,
      int uStart,
      float weight,
      int count) {
    int bound = Lanes.FLOATS.loopBound(count);
    FloatVector w = VectorMath.splat(weight);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector g = Lanes.load(gate, gStart + i);
      FloatVector u = Lanes.load(up, uStart + i);
      Lanes.store(h, hStart + i, w.mul(g).mul(u).div(VectorMath.exp(g.neg()).add(1)));
    }
    for (int i = bound; i < count; i++) {
      float g = Lanes.get(gate, gStart + i);
      Lanes.set(h, hStart + i, weight * g * VectorMath.sigmoid(g) * Lanes.get(up, uStart + i));
    }
  }

  void backward(Tensor dGateUp, Tensor dWeight, Tensor h, Tensor dh, Tensor gateUp, Tensor weight) {
    int f = dh.cols();
    ByteBuffer from = gateUp.bytes();
    ByteBuffer both = dGateUp.bytes();
    ByteBuffer hidden = h.bytes();
    ByteBuffer dHidden = dh.bytes();
    Pieces.forEach(
        parallel,
        dh.rows(),
        Pieces.rowGrain(2 * f),
        (first, end) -> {
          ByteBuffer s = sigmoids.get().floats(f);
          for (int t = first; t < end; t++) {
            float w = weight == null ? 1 : weight.getFloat(t);
            int at = 2 * t * f;
            if (dGateUp != gateUp) {
              Lanes.copy(both, at, from, at, 2 * f);
            }
            sigmoidRow(s, 0, both, at, f);
            float dw =
                backwardRow(both, at, both, at + f, hidden, t * f, s, 0, dHidden, t * f, w, f);
            if (dWeight != null) {
              dWeight.setFloat(t, dw);
            }
          }
        });
  }

  /** {@code s = sigmoid(gate)}. */
  static void sigmoidRow(ByteBuffer s, int sStart, ByteBuffer gate, int gStart, int count) {
    int bound = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      Lanes.store(s, sStart + i, VectorMath.sigmoid(Lanes.load(gate, gStart + i)));
    }
    for (int i = bound; i < count; i++) {
      Lanes.set(s, sStart + i, VectorMath.sigmoid(Lanes.get(gate, gStart + i)));
    }
  }

  /**
   * forward: h = w g s u with s = sigmoid(g); so dw = sum dh g s u, dg = w dh u s (1 + g (1 - s))
   * and du = w dh g s. Gate and up are replaced by their gradients; h may be dh or s.
   *
   * @return dw
   */
  static float backwardRow(
      ByteBuffer gate,
      int gStart,
      ByteBuffer up,
      int uStart,
      ByteBuffer h,
      int hStart,
      ByteBuffer sigmoid,
      int sStart,
      ByteBuffer dh,
      int dStart,
      float weight,
      int count) {
    int bound = Lanes.FLOATS.loopBound(count);
    FloatVector one = VectorMath.splat(1);
    FloatVector w = VectorMath.splat(weight);
    FloatVector sum = VectorMath.zero();
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector g = Lanes.load(gate, gStart + i);
      FloatVector u = Lanes.load(up, uStart + i);
      FloatVector s = Lanes.load(sigmoid, sStart + i);
      FloatVector d = Lanes.load(dh, dStart + i);
      FloatVector gsu = g.mul(s).mul(u);
      FloatVector wds = w.mul(d).mul(s);
      FloatVector slope = VectorMath.fma(g, one.sub(s), one);
      sum = VectorMath.fma(d, gsu, sum);
      Lanes.store(gate, gStart + i, wds.mul(u).mul(slope));
      Lanes.store(up, uStart + i, wds.mul(g));
      Lanes.store(h, hStart + i, w.mul(gsu));
    }
    float total = VectorMath.sum(sum);
    for (int i = bound; i < count; i++) {
      float g = Lanes.get(gate, gStart + i);
      float u = Lanes.get(up, uStart + i);
      float s = Lanes.get(sigmoid, sStart + i);
      float d = Lanes.get(dh, dStart + i);
      total += d * g * s * u;
      Lanes.set(gate, gStart + i, weight * d * s * u * (1 + g * (1 - s)));
      Lanes.set(up, uStart + i, weight * d * s * g);
      Lanes.set(h, hStart + i, weight * g * s * u);
    }
    return total;
  }
}
