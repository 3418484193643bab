package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;

/** {@link Kernels#distillation} in plain loops. Legend as in {@link Kernels}. */
final class ReferenceDistillation {

  private ReferenceDistillation() {}

  static void distillation(
      Tensor losses,
      Tensor logits,
      Tensor targets,
      TeacherTargets teacher,
      DistillationLoss loss,
      double gradientScale) {
    TeacherOutcomes outcomes = new TeacherOutcomes(loss, teacher.topK());
    for (int t = 0; t < targets.size(); t++) {
      row(losses, logits, targets, teacher, outcomes, t, gradientScale);
    }
  }

  private static void row(
      Tensor losses,
      Tensor logits,
      Tensor targets,
      TeacherTargets teacher,
      TeacherOutcomes outcomes,
      int t,
      double gradientScale) {
    int c = logits.cols();
    int target = targets.getInt(t);
    int n = outcomes.read(teacher, t);
    boolean[] stored = new boolean[c];
    int[] ids = new int[n];
    for (int j = 0; j < n; j++) {
      ids[j] = teacher.ids().getInt(t * teacher.topK() + j);
      stored[ids[j]] = true;
      outcomes.logits()[j] = logits.get(t * c + ids[j]);
    }
    double largest = Double.NEGATIVE_INFINITY;
    for (int j = 0; j < c; j++) {
      largest = stored[j] ? largest : Math.max(largest, logits.get(t * c + j));
    }
    // tail logit = log sum_j exp(x[j]) over the tokens that are not stored
    double[] share = new double[c];
    double sum = 0;
    for (int j = 0; j < c; j++) {
      share[j] = stored[j] ? 0 : Math.exp(logits.get(t * c + j) - largest);
      sum += share[j];
    }
    outcomes.logits()[n] = largest + Math.log(sum);
    double value = target < 0 ? 0 : outcomes.evaluate(n, n < c, logits.get(t * c + target));
    losses.set(t, value);
    if (gradientScale == 0) {
      return;
    }
    double[] gradient = new double[c];
    if (target >= 0) {
      for (int j = 0; j < n; j++) {
        gradient[ids[j]] = outcomes.gradients()[j];
      }
      for (int j = 0; j < c; j++) {
        // d(tail logit)/dx[j] = exp(x[j]) / sum over the tail
        gradient[j] += stored[j] ? 0 : outcomes.gradients()[n] * share[j] / sum;
      }
      gradient[target] -= outcomes.targetWeight();
    }
    for (int j = 0; j < c; j++) {
      logits.set(t * c + j, gradientScale * gradient[j]);
    }
  }
}
