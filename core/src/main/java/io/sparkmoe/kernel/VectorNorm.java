package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;

/** Fast RMS norm. T tokens, D model width. */
final class VectorNorm {

  private final Parallel parallel;

  VectorNorm(Parallel parallel) {
    this.parallel = parallel;
  }

  void forward(Tensor y, Tensor inverseRms, Tensor x, Tensor weight, double eps) {
    int d = weight.size();
    ByteBuffer to = y.bytes();
    ByteBuffer rms = inverseRms.bytes();
    ByteBuffer from = x.bytes();
    ByteBuffer w = weight.bytes();
    Pieces.forEach(
        parallel,
        inverseRms.size(),
        Pieces.rowGrain(d),
        (first, end) -> {
          for (int t = first; t < end; t++) {
            float r =
                (float)
                    (1 / Math.sqrt((double) VectorRows.dot(from, t * d, from, t * d, d) / d + eps));
            Lanes.set(rms, t, r);
            scaleRow(to, t * d, from, t * d, w, r, d);
          }
        });
  }

  /** y[i] = x[i] r w[i]. */
  static void scaleRow(
      ByteBuffer y, int yStart, ByteBuffer x, int xStart, ByteBuffer w, float r, int d) {
    int bound = Lanes.FLOATS.loopBound(d);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      Lanes.store(y, yStart + i, Lanes.load(x, xStart + i).mul(r).mul(Lanes.load(w, i)));
    }
    for (int i = bound; i < d; i++) {
      Lanes.set(y, yStart + i, Lanes.get(x, xStart + i) * r * Lanes.get(w, i));
    }
  }

  void backward(Tensor dx, Tensor dWeight, Tensor dy, Tensor x, Tensor inverseRms, Tensor weight) {
    int d = weight.size();
    int rows = inverseRms.size();
    ByteBuffer to = dx.bytes();
    ByteBuffer dOut = dy.bytes();
    ByteBuffer from = x.bytes();
    ByteBuffer rms = inverseRms.bytes();
    ByteBuffer w = weight.bytes();
    // Every piece sums its own rows; the pieces are then added in order, so that the bits do not
    // depend on threads.
    int grain = Pieces.rowGrain(d);
    float[][] partial = new float[Pieces.count(rows, grain)][d];
    Pieces.forEach(
        parallel,
        rows,
        grain,
        (first, end) -> {
          float[] sum = partial[first / grain];
          for (int t = first; t < end; t++) {
            backwardRow(to, sum, dOut, from, t * d, Lanes.get(rms, t), w, d);
          }
        });
    for (int i = 0; i < d; i++) {
      double sum = dWeight.getFloat(i);
      for (float[] piece : partial) {
        sum += piece[i];
      }
      dWeight.setFloat(i, (float) sum);
    }
  }

  /**
   * forward: y[i] = x[i] r w[i]; so dw[i] += dy[i] x[i] r, and dx[i] += r w[i] dy[i] - x[i] r^3/D
   * sum_j dy[j] w[j] x[j].
   */
  private static void backwardRow(
      ByteBuffer dx,
      float[] dWeight,
      ByteBuffer dy,
      ByteBuffer x,
      int start,
      float r,
      ByteBuffer w,
      int d) {
    int bound = Lanes.FLOATS.loopBound(d);
    FloatVector dots = VectorMath.zero();
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector product = Lanes.load(dy, start + i).mul(Lanes.load(x, start + i));
      dots = VectorMath.fma(product, Lanes.load(w, i), dots);
      FloatVector.fromArray(Lanes.FLOATS, dWeight, i).add(product.mul(r)).intoArray(dWeight, i);
    }
    float dot = VectorMath.sum(dots);
    for (int i = bound; i < d; i++) {
      float product = Lanes.get(dy, start + i) * Lanes.get(x, start + i);
      dot += product * Lanes.get(w, i);
      dWeight[i] += product * r;
    }
    float back = -r * r * r / d * dot;
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector direct = Lanes.load(dy, start + i).mul(Lanes.load(w, i)).mul(r);
      FloatVector all = VectorMath.fma(Lanes.load(x, start + i), VectorMath.splat(back), direct);
      Lanes.store(dx, start + i, Lanes.load(dx, start + i).add(all));
    }
    for (int i = bound; i < d; i++) {
      float direct = Lanes.get(dy, start + i) * Lanes.get(w, i) * r;
      Lanes.set(dx, start + i, Lanes.get(dx, start + i) + direct + Lanes.get(x, start + i) * back);
    }
  }
}
