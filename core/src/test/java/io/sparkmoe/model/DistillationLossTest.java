package io.sparkmoe.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.kernel.DistillationLoss;
import io.sparkmoe.kernel.DistillationLoss.Divergence;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.kernel.TeacherTargets;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.layer.ExactLayers;
import io.sparkmoe.parallel.Phase;
import io.sparkmoe.parallel.PhaseClock;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Laws of the losses against a teacher's stored probabilities, in double. */
class DistillationLossTest {

  private static final long SEED = Long.getLong("moe.seed", 42);
  private static final int T = 9;
  private static final int C = 12;

  private final SplittableRandom random = new SplittableRandom(SEED);
  private final Kernels kernels = new ReferenceKernels();
  private final Arena arena = new Arena("test", 1 << 24);
  private final Scope scope = arena.scope();

  @AfterEach
  void close() {
    scope.close();
    arena.close();
  }

  static Stream<DistillationLoss> losses() {
    return Stream.of(Divergence.values())
        .flatMap(
            divergence ->
                Stream.of(
                    new DistillationLoss(divergence, 1, 0),
                    new DistillationLoss(divergence, 1, 0.3),
                    new DistillationLoss(divergence, 2.5, 0),
                    new DistillationLoss(divergence, 0.7, 0.5),
                    new DistillationLoss(divergence, 1, 1)));
  }

  @ParameterizedTest
  @MethodSource("losses")
  @DisplayName("gradients agree with central differences, with a tail and without")
  void gradients(DistillationLoss loss) {
    for (int k : new int[] {1, 4, C - 1, C}) {
      Tensor logits = gaussian(T, C);
      Tensor targets = targets();
      TeacherTargets teacher = teacher(gaussian(T, C), k);
      teacher.logProbabilities().set(0, Double.NEGATIVE_INFINITY);
      if (k > 1) {
        teacher.ids().setInt(5 * k + k - 1, -1);
      }
      Tensor gradient = copy(logits);
      kernels.distillation(scope.allocate(DType.F64, T), gradient, targets, teacher, loss, 0.4);
      GradientCheck.check(
          loss + ", top " + k,
          logits,
          gradient,
          () -> 0.4 * sum(logits, targets, teacher, loss),
          T * C,
          random);
    }
  }

  @ParameterizedTest
  @MethodSource("losses")
  @DisplayName("with the whole vocabulary stored, a loss is the dense one")
  void wholeVocabularyIsDense(DistillationLoss loss) {
    Tensor logits = gaussian(T, C);
    Tensor teacherLogits = gaussian(T, C);
    Tensor targets = targets();
    double stored = sum(logits, targets, teacher(teacherLogits, C), loss);
    assertThat(stored).isCloseTo(dense(logits, teacherLogits, targets, loss), within(1e-6));
  }

  @ParameterizedTest
  @EnumSource(Divergence.class)
  @DisplayName("a student equal to its teacher has no loss and no gradient, at any temperature")
  void equalStudentRests(Divergence divergence) {
    for (double temperature : new double[] {1, 3}) {
      int k = divergence == Divergence.ZERO_TAIL ? C : 4;
      Tensor logits = gaussian(T, C);
      TeacherTargets teacher = teacher(logits, k);
      DistillationLoss loss = new DistillationLoss(divergence, temperature, 0);
      assertThat(sum(logits, targets(), teacher, loss)).isCloseTo(0, within(1e-12));
      Tensor gradient = copy(logits);
      kernels.distillation(scope.allocate(DType.F64, T), gradient, targets(), teacher, loss, 1);
      for (int i = 0; i < T * C; i++) {
        assertThat(gradient.get(i)).isCloseTo(0, within(1e-12));
      }
    }
  }

  @Test
  @DisplayName("the bucket's gradient is that of FACTS: q - p on stored tokens, q - tail q/q(tail)")
  void bucketGradientByHand() {
    Tensor logits = gaussian(T, C);
    TeacherTargets teacher = teacher(gaussian(T, C), 4);
    double[] q = softmax(logits, 2);
    Tensor gradient = copy(logits);
    DistillationLoss loss = new DistillationLoss(Divergence.BUCKET, 1, 0);
    kernels.distillation(scope.allocate(DType.F64, T), gradient, targets(), teacher, loss, 1);
    double tail = Math.exp(teacher.tailLogMass().get(2));
    double studentTail = 1;
    double[] expected = new double[C];
    for (int j = 0; j < 4; j++) {
      studentTail -= q[teacher.ids().getInt(2 * 4 + j)];
    }
    for (int j = 0; j < C; j++) {
      expected[j] = q[j] - tail * q[j] / studentTail;
    }
    for (int j = 0; j < 4; j++) {
      int id = teacher.ids().getInt(2 * 4 + j);
      expected[id] = q[id] - Math.exp(teacher.logProbabilities().get(2 * 4 + j));
    }
    for (int j = 0; j < C; j++) {
      assertThat(gradient.get(2 * C + j)).isCloseTo(expected[j], within(1e-12));
    }
  }

  @ParameterizedTest
  @EnumSource(Divergence.class)
  @DisplayName("a certain student, a teacher without a tail and -infinity leave all finite")
  void extremesStayFinite(Divergence divergence) {
    Tensor logits = gaussian(T, C);
    TeacherTargets teacher = teacher(gaussian(T, C), 3);
    for (int t = 0; t < T; t++) {
      logits.set(t * C + teacher.ids().getInt(t * 3), 2000);
      teacher.logProbabilities().set(t * 3, 0);
      teacher.logProbabilities().set(t * 3 + 1, Double.NEGATIVE_INFINITY);
      teacher.logProbabilities().set(t * 3 + 2, Double.NEGATIVE_INFINITY);
      teacher.tailLogMass().set(t, Double.NEGATIVE_INFINITY);
    }
    DistillationLoss loss = new DistillationLoss(divergence, 1, 0);
    double sum = sum(logits, targets(), teacher, loss);
    assertThat(sum).isFinite().isNotNegative().isLessThan(0.1);
    kernels.distillation(scope.allocate(DType.F64, T), logits, targets(), teacher, loss, 1);
    assertThat(kernels.firstNonFinite(logits)).isEqualTo(-1);
  }

  @Test
  @DisplayName("how the head cuts rows into blocks changes neither loss nor gradient")
  void blocksDoNotMatter() {
    Weight head = new Weight(gaussian(C, 5), scope.zeros(DType.F64, C, 5));
    Tensor normed = gaussian(T, 5);
    HeadLoss loss =
        new HeadLoss.Distilled(
            targets(),
            new Distillation(
                teacher(gaussian(T, C), 4), new DistillationLoss(Divergence.BUCKET, 2, 0.1)));
    double[] sums =
        IntStream.of(1, 4, T)
            .mapToDouble(
                rows -> {
                  Tensor d = scope.allocate(DType.F64, T, 5);
                  OutputHead blocks =
                      new OutputHead(
                          new ExactLayers(kernels), head, new PhaseClock(Phase.TRUNK), rows);
                  double sum = blocks.lossAndGradient(d, normed, loss, 0.3, scope).sum();
                  return sum + 1000 * kernels.sumOfSquares(d);
                })
            .toArray();
    assertThat(sums[1]).isCloseTo(sums[0], within(1e-10));
    assertThat(sums[2]).isCloseTo(sums[0], within(1e-10));
  }

  private double sum(Tensor logits, Tensor targets, TeacherTargets teacher, DistillationLoss loss) {
    Tensor losses = scope.allocate(DType.F64, T);
    kernels.distillation(losses, logits, targets, teacher, loss, 0);
    return IntStream.range(0, T).mapToDouble(losses::get).sum();
  }

  /** The formulae over whole distributions. */
  private double dense(Tensor logits, Tensor teacherLogits, Tensor targets, DistillationLoss loss) {
    double t = loss.temperature();
    double sum = 0;
    for (int row = 0; row < T; row++) {
      if (targets.getInt(row) < 0) {
        continue;
      }
      double[] p = softmax(scaled(teacherLogits, 1 / t), row);
      double[] q = softmax(scaled(logits, 1 / t), row);
      double divergence = 0;
      for (int j = 0; j < C; j++) {
        divergence +=
            loss.divergence() == Divergence.REVERSE
                ? q[j] * Math.log(q[j] / p[j])
                : p[j] * Math.log(p[j] / q[j]);
      }
      double w = loss.crossEntropyWeight();
      double crossEntropy = -Math.log(softmax(logits, row)[targets.getInt(row)]);
      sum += (1 - w) * t * t * divergence + w * crossEntropy;
    }
    return sum;
  }

  private Tensor targets() {
    Tensor targets = scope.allocate(DType.I32, T);
    for (int t = 0; t < T; t++) {
      targets.setInt(t, t == 4 ? -1 : (5 * t + 1) % C);
    }
    return targets;
  }

  /** The k most probable tokens under a teacher's logits, as it would store them. */
  private TeacherTargets teacher(Tensor logits, int k) {
    Tensor ids = scope.allocate(DType.I32, T, k);
    Tensor logProbabilities = scope.allocate(DType.F64, T, k);
    Tensor tail = scope.allocate(DType.F64, T);
    for (int t = 0; t < T; t++) {
      double[] p = softmax(logits, t);
      int[] order =
          IntStream.range(0, C)
              .boxed()
              .sorted((a, b) -> Double.compare(p[b], p[a]))
              .mapToInt(Integer::intValue)
              .toArray();
      double rest = 0;
      for (int j = 0; j < C; j++) {
        if (j < k) {
          ids.setInt(t * k + j, order[j]);
          logProbabilities.set(t * k + j, Math.log(p[order[j]]));
        } else {
          rest += p[order[j]];
        }
      }
      tail.set(t, Math.log(rest));
    }
    return new TeacherTargets(ids, logProbabilities, tail);
  }

  private static double[] softmax(Tensor logits, int row) {
    double[] p = new double[C];
    double sum = 0;
    for (int j = 0; j < C; j++) {
      p[j] = Math.exp(logits.get(row * C + j));
      sum += p[j];
    }
    for (int j = 0; j < C; j++) {
      p[j] /= sum;
    }
    return p;
  }

  private Tensor gaussian(int... shape) {
    Tensor tensor = scope.allocate(DType.F64, shape);
    for (int i = 0; i < tensor.size(); i++) {
      tensor.set(i, random.nextGaussian());
    }
    return tensor;
  }

  private Tensor copy(Tensor from) {
    Tensor copy = scope.allocate(from.type(), from.shape());
    copy.copyFrom(from);
    return copy;
  }

  private Tensor scaled(Tensor x, double a) {
    Tensor y = scope.zeros(x.type(), x.shape());
    kernels.addScaled(y, x, a);
    return y;
  }
}
