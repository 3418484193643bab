package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Bfloat16;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.List;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;

/** Fast softmax cross-entropy and distillation. C vocabulary. */
final class VectorLoss {

  /** What an outcome's exponentials and logarithms in double cost, in elements of a row. */
  private static final int OUTCOME_ELEMENTS = 64;

  private final Parallel parallel;

  VectorLoss(Parallel parallel) {
    this.parallel = parallel;
  }

  /** A thread's row of logits, and what the passes over it find. */
  private static final class Row {
    ByteBuffer logits;
    int start;
    int count;
    float largest;
    double sum;

    /** What the gradient is written to, from {@link #start} on: the logits, or an operand. */
    ByteBuffer gradient;

    boolean rounds;
    boolean bfloat16;
    double gradientScale;

    /** What makes an exponential its part of the gradient. */
    float factor() {
      return (float) (gradientScale / sum);
    }
  }

  /** Each is compiled by itself, {@link Pass} says why. */
  private final List<Pass<Row>> passes =
      List.of(
          row -> row.largest = largest(row.logits, row.start, row.count),
          row ->
              row.sum =
                  exponentials(
                      row.logits, row.start, row.largest, row.count, row.gradientScale != 0),
          VectorLoss::gradient);

  /**
   * @param dLogits the logits themselves, or an operand for a gradient rounded to BF16
   */
  void crossEntropy(
      Tensor losses, Tensor dLogits, Tensor logits, Tensor targets, double gradientScale) {
    int c = logits.cols();
    Pieces.forEach(
        parallel,
        targets.size(),
        Pieces.rowGrain(c),
        (first, end) -> {
          Row row = new Row();
          row.logits = logits.bytes();
          row.count = c;
          row.gradient = dLogits.bytes();
          row.rounds = dLogits != logits;
          row.bfloat16 = dLogits.type() == DType.BF16;
          row.gradientScale = gradientScale;
          for (int t = first; t < end; t++) {
            row.start = t * c;
            losses.setFloat(t, crossEntropy(row, targets.getInt(t)));
          }
        });
  }

  private float crossEntropy(Row row, int target) {
    if (target < 0) {
      if (row.gradientScale != 0) {
        Lanes.clear(row.bfloat16, row.gradient, row.start, row.count);
      }
      return 0;
    }
    int at = row.start + target;
    float chosen = Lanes.get(row.logits, at);
    for (Pass<Row> pass : passes) {
      pass.run(row);
    }
    if (row.gradientScale != 0) {
      float scaled = row.factor() * VectorMath.exp(chosen - row.largest);
      float value = (float) (scaled - row.gradientScale);
      float stored = row.rounds ? Bfloat16.decode(Bfloat16.encode(value)) : value;
      Lanes.set(row.bfloat16, row.gradient, at, stored);
    }
    // loss = log(sum_j exp(x[j] - max)) - (x[target] - max)
    return (float) (Math.log(row.sum) - (chosen - row.largest));
  }

  /** Exponentials become scale softmax[j], which is the gradient of all but the target. */
  private static void gradient(Row row) {
    if (row.gradientScale == 0) {
      return;
    }
    if (!row.rounds) {
      scaleRow(row.logits, row.start, row.factor(), row.count);
      return;
    }
    ByteBuffer from = row.logits;
    ByteBuffer to = row.gradient;
    int end = row.start + row.count;
    int bound = Lanes.bound(row.start, end);
    FloatVector factor = VectorMath.splat(row.factor());
    for (int i = row.start; i < bound; i += Lanes.LENGTH) {
      IntVector bits = Lanes.load(from, i).mul(factor).reinterpretAsInts();
      Lanes.storeBits(row.bfloat16, to, i, VectorBfloat16.rounded(bits));
    }
    for (int i = bound; i < end; i++) {
      short value = Bfloat16.encode(row.factor() * Lanes.get(from, i));
      Lanes.set(row.bfloat16, to, i, Bfloat16.decode(value));
    }
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
