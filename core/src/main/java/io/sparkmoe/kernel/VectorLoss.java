package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;

/** Fast softmax cross-entropy and distillation. C vocabulary. */
final class VectorLoss {

  /** What an outcome's exponentials and logarithms in double cost, in elements of a row. */
  private static final int OUTCOME_ELEMENTS = 64;

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

  void distillation(
      Tensor losses,
      Tensor logits,
      Tensor targets,
      TeacherTargets teacher,
      DistillationLoss loss,
      double gradientScale) {
    int c = logits.cols();
    ByteBuffer values = logits.bytes();
    Pieces.forEach(
        parallel,
        targets.size(),
        Pieces.rowGrain(c + OUTCOME_ELEMENTS * teacher.topK()),
        (first, end) -> {
          TeacherOutcomes outcomes = new TeacherOutcomes(loss, teacher.topK());
          for (int t = first; t < end; t++) {
            int target = targets.getInt(t);
            if (target >= 0) {
              losses.setFloat(
                  t, row(values, t * c, c, target, teacher, t, outcomes, gradientScale));
              continue;
            }
            losses.setFloat(t, 0);
            if (gradientScale != 0) {
              Lanes.clear(values, t * c, c);
            }
          }
        });
  }

  /** The loss of a row of c logits at {@code start}, which its gradient replaces. */
  private static float row(
      ByteBuffer x,
      int start,
      int c,
      int target,
      TeacherTargets teacher,
      int t,
      TeacherOutcomes outcomes,
      double gradientScale) {
    boolean gradient = gradientScale != 0;
    double targetLogit = Lanes.get(x, start + target);
    int n = outcomes.read(teacher, t);
    double[] a = outcomes.logits();
    int firstId = t * teacher.topK();
    // The stored tokens are set to -inf, so that the row is the tail alone: its sum is exact, where
    // 1 - sum of the stored ones would cancel.
    for (int j = 0; j < n; j++) {
      int at = start + teacher.ids().getInt(firstId + j);
      a[j] = Lanes.get(x, at);
      Lanes.set(x, at, Float.NEGATIVE_INFINITY);
    }
    double tailSum = 0;
    if (n < c) {
      float largest = largest(x, start, c);
      tailSum = exponentials(x, start, largest, c, gradient);
      a[n] = largest + Math.log(tailSum);
    }
    double value = outcomes.evaluate(n, n < c, targetLogit);
    double[] d = outcomes.gradients();
    if (gradient && n < c) {
      // d(tail logit)/dx[j] = exp(x[j]) / sum over the tail
      scaleRow(x, start, (float) (gradientScale * d[n] / tailSum), c);
    }
    boolean targetInTail = true;
    for (int j = 0; j < n; j++) {
      int id = teacher.ids().getInt(firstId + j);
      targetInTail &= id != target;
      double subtracted = id == target ? outcomes.targetWeight() : 0;
      Lanes.set(x, start + id, (float) (gradient ? gradientScale * (d[j] - subtracted) : a[j]));
    }
    if (gradient && targetInTail) {
      double subtracted = gradientScale * outcomes.targetWeight();
      Lanes.set(x, start + target, (float) (Lanes.get(x, start + target) - subtracted));
    }
    return (float) value;
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
  static double exponentials(ByteBuffer x, int start, float largest, int count, boolean keep) {
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
