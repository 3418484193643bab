package io.sparkmoe.kernel;

/**
 * {@link DistillationLoss} of one row as a function of its outcome logits; both kernels differ only
 * in how they get these from the row and spread their gradients over it. K stored tokens at most;
 * outcome n, behind the n stored ones, is the tail.
 */
final class TeacherOutcomes {

  /**
   * Probabilities below e^-100 count as that: a teacher's -infinity must not make a reverse KL
   * infinite, and nothing so small changes a forward one.
   */
  private static final double LOWEST_LOG = -100;

  /** Stored probabilities sum to 1 - 1e-6 at most when tokens are left over. */
  private static final double LOWEST_TAIL_LOG = Math.log(1e-6);

  private final DistillationLoss loss;
  private final double[] logTeacher;
  private final double[] logStudent;
  private final double[] logits;
  private final double[] gradients;
  private double targetWeight;

  TeacherOutcomes(DistillationLoss loss, int topK) {
    this.loss = loss;
    this.logTeacher = new double[topK + 1];
    this.logStudent = new double[topK + 1];
    this.logits = new double[topK + 1];
    this.gradients = new double[topK + 1];
  }

  /** Number of entries of a row of the teacher; fills in what it says about them. */
  int read(TeacherTargets teacher, int row) {
    int k = teacher.topK();
    int n = 0;
    while (n < k && teacher.ids().getInt(row * k + n) >= 0) {
      logTeacher[n] = Math.max(LOWEST_LOG, teacher.logProbabilities().get(row * k + n));
      n++;
    }
    logTeacher[n] = Math.max(LOWEST_TAIL_LOG, teacher.tailLogMass().get(row));
    return n;
  }

  /** Logits of the stored tokens, and at their end that of the tail; the caller writes them. */
  double[] logits() {
    return logits;
  }

  /** What the target's own logit loses on top of {@link #gradients}. */
  double targetWeight() {
    return targetWeight;
  }

  /** Gradient of the last loss by each outcome's logit, without the {@code -w} of the target's. */
  double[] gradients() {
    return gradients;
  }

  /**
   * The loss of the row that was read last; without stored tokens it is the cross-entropy.
   *
   * @param n stored tokens
   * @param hasTail whether outcome n exists
   * @param targetLogit logit of the next token
   */
  double evaluate(int n, boolean hasTail, double targetLogit) {
    int outcomes = hasTail ? n + 1 : n;
    double w = n == 0 ? 1 : loss.crossEntropyWeight();
    targetWeight = w;
    double logSum = logSumExp(logits, outcomes, 1);
    double divergence = w == 1 ? 0 : divergence(n, outcomes);
    for (int o = 0; o < outcomes; o++) {
      // -log q1(target) = logSum - x[target]; so every outcome gets w q1
      double divergenceGradient = w == 1 ? 0 : (1 - w) * gradients[o];
      gradients[o] = divergenceGradient + w * Math.exp(logits[o] - logSum);
    }
    return (1 - w) * divergence + w * (logSum - targetLogit);
  }

  /** T^2 times the divergence, and its gradient. */
  private double divergence(int n, int outcomes) {
    double t = loss.temperature();
    return switch (loss.divergence()) {
      case BUCKET -> forward(outcomes, outcomes, t);
      case ZERO_TAIL -> forward(outcomes, n, t);
      case REVERSE -> reverse(outcomes, t);
    };
  }

  /** T^2 sum p log(p/q) with p over the first {@code supported} outcomes; gradient T (q - p). */
  private double forward(int outcomes, int supported, double t) {
    double studentSum = logSumExp(logits, outcomes, t);
    double teacherSum = logSumExp(logTeacher, supported, t);
    double divergence = 0;
    for (int o = 0; o < outcomes; o++) {
      double logQ = logits[o] / t - studentSum;
      double logP = logTeacher[o] / t - teacherSum;
      double p = o < supported ? Math.exp(logP) : 0;
      divergence += o < supported ? p * (logP - logQ) : 0;
      gradients[o] = t * (Math.exp(logQ) - p);
    }
    return t * t * divergence;
  }

  /** T^2 sum q log(q/p); gradient T q (log(q/p) - sum q log(q/p)). */
  private double reverse(int outcomes, double t) {
    double studentSum = logSumExp(logits, outcomes, t);
    double teacherSum = logSumExp(logTeacher, outcomes, t);
    double divergence = 0;
    for (int o = 0; o < outcomes; o++) {
      logStudent[o] = logits[o] / t - studentSum;
      divergence += Math.exp(logStudent[o]) * (logStudent[o] - logTeacher[o] / t + teacherSum);
    }
    for (int o = 0; o < outcomes; o++) {
      double ratio = logStudent[o] - logTeacher[o] / t + teacherSum;
      gradients[o] = t * Math.exp(logStudent[o]) * (ratio - divergence);
    }
    return t * t * divergence;
  }

  /** {@code log sum exp(x/t)} of the first {@code count}. */
  private static double logSumExp(double[] x, int count, double t) {
    double largest = Double.NEGATIVE_INFINITY;
    for (int o = 0; o < count; o++) {
      largest = Math.max(largest, x[o] / t);
    }
    double sum = 0;
    for (int o = 0; o < count; o++) {
      sum += Math.exp(x[o] / t - largest);
    }
    return largest + Math.log(sum);
  }
}
