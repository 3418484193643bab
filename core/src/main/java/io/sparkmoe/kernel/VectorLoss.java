package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;

/** Fast softmax cross-entropy. C vocabulary. */
final class VectorLoss {

  private final Parallel parallel;

  VectorLoss(Parallel parallel) {
    this.parallel = parallel;
  }

  void crossEntropy(Tensor losses, Tensor logits, Tensor targets, double gradientScale) {
    int c = logits.cols();
    ByteBuffer values = logits.bytes();
    boolean gradient = gradientScale != 0;
    Pieces.forEach(
        parallel,
        targets.size(),
        Pieces.rowGrain(c),
        (first, end) -> {
          for (int t = first; t < end; t++) {
            int target = targets.getInt(t);
            if (target < 0) {
              losses.setFloat(t, 0);
              if (gradient) {
                Lanes.clear(values, t * c, c);
              }
              continue;
            }
            float chosen = Lanes.get(values, t * c + target);
            float largest = largest(values, t * c, c);
            double sum = exponentials(values, t * c, largest, c, gradient);
            // loss = log(sum_j exp(x[j] - max)) - (x[target] - max)
            losses.setFloat(t, (float) (Math.log(sum) - (chosen - largest)));
            if (gradient) {
              // dx[j] = scale (softmax[j] - [j == target])
              scaleRow(values, t * c, (float) (gradientScale / sum), c);
              Lanes.set(
                  values,
                  t * c + target,
                  (float) (Lanes.get(values, t * c + target) - gradientScale));
            }
          }
        });
  }

  static float largest(ByteBuffer x, int start, int count) {
    int bound = Lanes.FLOATS.loopBound(count);
    FloatVector largest = VectorMath.splat(Float.NEGATIVE_INFINITY);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      largest = largest.max(Lanes.load(x, start + i));
    }
    float all = VectorMath.max(largest);
    for (int i = bound; i < count; i++) {
      all = Math.max(all, Lanes.get(x, start + i));
    }
    return all;
  }

  /** Sum of exp(x - largest), which replaces x when {@code keep}. */
  private static double exponentials(
      ByteBuffer x, int start, float largest, int count, boolean keep) {
    int bound = Lanes.FLOATS.loopBound(count);
    FloatVector sums = VectorMath.zero();
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector e = VectorMath.exp(Lanes.load(x, start + i).sub(largest));
      sums = sums.add(e);
      if (keep) {
        Lanes.store(x, start + i, e);
      }
    }
    double sum = VectorMath.sum(sums);
    for (int i = bound; i < count; i++) {
      float e = VectorMath.exp(Lanes.get(x, start + i) - largest);
      sum += e;
      if (keep) {
        Lanes.set(x, start + i, e);
      }
    }
    return sum;
  }

  private static void scaleRow(ByteBuffer x, int start, float a, int count) {
    int bound = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      Lanes.store(x, start + i, Lanes.load(x, start + i).mul(a));
    }
    for (int i = bound; i < count; i++) {
      Lanes.set(x, start + i, a * Lanes.get(x, start + i));
    }
  }
}
