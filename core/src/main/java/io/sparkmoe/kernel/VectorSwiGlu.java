package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import jdk.incubator.vector.FloatVector;

/**
 * Fast SwiGLU, forward and backward, of rows in arrays: every value is loaded from a tensor and
 * stored to it once. T tokens, F width.
 */
final class VectorSwiGlu {

  private final Parallel parallel;
  private final ThreadLocal<Room> rooms = ThreadLocal.withInitial(Room::new);

  VectorSwiGlu(Parallel parallel) {
    this.parallel = parallel;
  }

  /** A thread's row of gate and up, of the hidden values, and of their gradient. */
  private static final class Room {
    float[] gateUp = new float[0];
    float[] hidden = new float[0];
    float[] gradient = new float[0];

    Room of(int f) {
      if (hidden.length < f) {
        gateUp = new float[2 * f];
        hidden = new float[f];
        gradient = new float[f];
      }
      return this;
    }
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

  /** The row's up follows its gate. */
  private static void row(ByteBuffer h, int hStart, ByteBuffer gateUp, int start, float w, int f) {
    int bound = Lanes.FLOATS.loopBound(f);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector gate = Lanes.load(gateUp, start + i);
      FloatVector up = Lanes.load(gateUp, start + f + i);
      Lanes.store(h, hStart + i, gated(gate, up, VectorMath.splat(w)));
    }
    for (int i = bound; i < f; i++) {
      float gate = Lanes.get(gateUp, start + i);
      Lanes.set(h, hStart + i, gated(gate, Lanes.get(gateUp, start + f + i), w));
    }
  }

  /** {@code h = weight * silu(gate) * up} of {@code count} elements, all from {@code start} on. */
  static void row(float[] h, float[] gate, float[] up, int start, float weight, int count) {
    int end = start + count;
    int bound = Lanes.bound(start, end);
    for (int i = start; i < bound; i += Lanes.LENGTH) {
      FloatVector w = VectorMath.splat(weight);
      Lanes.store(h, i, gated(Lanes.load(gate, i), Lanes.load(up, i), w));
    }
    for (int i = bound; i < end; i++) {
      h[i] = gated(gate[i], up[i], weight);
    }
  }

  private static FloatVector gated(FloatVector gate, FloatVector up, FloatVector weight) {
    return weight.mul(gate).mul(up).div(VectorMath.exp(gate.neg()).add(1));
  }

  private static float gated(float gate, float up, float weight) {
    return weight * gate * VectorMath.sigmoid(gate) * up;
  }

  void backward(Tensor dGateUp, Tensor dWeight, Tensor h, Tensor dh, Tensor gateUp, Tensor weight) {
    int f = dh.cols();
    FloatBuffer from = gateUp.bytes().asFloatBuffer();
    FloatBuffer both = dGateUp.bytes().asFloatBuffer();
    FloatBuffer hidden = h.bytes().asFloatBuffer();
    FloatBuffer dHidden = dh.bytes().asFloatBuffer();
    Pieces.forEach(
        parallel,
        dh.rows(),
        Pieces.rowGrain(2 * f),
        (first, end) -> {
          Room room = rooms.get().of(f);
          for (int t = first; t < end; t++) {
            int at = 2 * t * f;
            from.get(at, room.gateUp, 0, 2 * f);
            dHidden.get(t * f, room.gradient, 0, f);
            sigmoidRow(room.hidden, 0, room.gateUp, 0, f);
            float w = weight == null ? 1 : weight.getFloat(t);
            float dw =
                backwardRow(room.gateUp, 0, room.gateUp, f, room.hidden, 0, room.gradient, 0, w, f);
            both.put(at, room.gateUp, 0, 2 * f);
            hidden.put(t * f, room.hidden, 0, f);
            if (dWeight != null) {
              dWeight.setFloat(t, dw);
            }
          }
        });
  }

  /** {@code s = sigmoid(gate)}. */
  static void sigmoidRow(float[] s, int sStart, float[] gate, int gStart, int count) {
    int bound = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      Lanes.store(s, sStart + i, VectorMath.sigmoid(Lanes.load(gate, gStart + i)));
    }
    for (int i = bound; i < count; i++) {
      s[sStart + i] = VectorMath.sigmoid(gate[gStart + i]);
    }
  }

  /**
   * forward: h = w g s u with s = sigmoid(g); so dw = sum dh g s u, dg = w dh u s (1 + g (1 - s))
   * and du = w dh g s. Gate and up are replaced by their gradients, the sigmoids by h.
   *
   * @return dw
   */
  static float backwardRow(
      float[] gate,
      int gStart,
      float[] up,
      int uStart,
      float[] sigmoid,
      int sStart,
      float[] dh,
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
      Lanes.store(sigmoid, sStart + i, w.mul(gsu));
    }
    float total = VectorMath.sum(sum);
    for (int i = bound; i < count; i++) {
      float g = gate[gStart + i];
      float u = up[uStart + i];
      float s = sigmoid[sStart + i];
      float d = dh[dStart + i];
      total += d * g * s * u;
      gate[gStart + i] = weight * d * s * u * (1 + g * (1 - s));
      up[uStart + i] = weight * d * s * g;
      sigmoid[sStart + i] = weight * g * s * u;
    }
    return total;
  }
}
