package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.kernel.DistillationLoss.Divergence;
import io.sparkmoe.kernel.KernelTwins.Fill;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

/** The fast distillation loss against its definition. */
class DistillationKernelsTest {

  private static final int ROWS = 29;

  private final KernelTwins twins = new KernelTwins();

  @AfterEach
  void close() {
    twins.close();
  }

  @Test
  @DisplayName("every loss, with a tail and without, with gaps, ignored rows and -infinity")
  void twinsAgree() {
    for (int c : new int[] {1, 7, 13, 64, 207, 1025}) {
      for (int k : new int[] {1, Math.min(8, c), Math.min(64, c)}) {
        for (Divergence divergence : Divergence.values()) {
          for (Fill fill : Fill.values()) {
            agree(new DistillationLoss(divergence, 1, 0), fill, c, k);
          }
          agree(new DistillationLoss(divergence, 2.5, 0.3), Fill.MIXED, c, k);
        }
      }
    }
  }

  private void agree(DistillationLoss loss, Fill fill, int c, int k) {
    Tensor targets = twins.indices(0, c, ROWS);
    targets.setInt(3, -1);
    Tensor ids = ids(c, k);
    Tensor logProbabilities = twins.mixed(ROWS, k);
    Tensor tail = twins.mixed(ROWS);
    for (int j = 0; j < k; j++) {
      ids.setInt(5 * k + j, -1);
    }
    logProbabilities.setFloat(0, Float.NEGATIVE_INFINITY);
    tail.setFloat(1, Float.NEGATIVE_INFINITY);
    for (double scale : new double[] {0.25, 0}) {
      twins.agree(
          loss + " of " + c + " tokens, top " + k + ", scale " + scale,
          c,
          (kernels, t) ->
              kernels.distillation(
                  t[0], t[1], t[2], new TeacherTargets(t[3], t[4], t[5]), loss, scale),
          twins.unwritten(ROWS),
          twins.filled(fill, ROWS, c),
          targets,
          ids,
          logProbabilities,
          tail);
    }
  }

  /** Distinct in a row; every other row has one entry less. */
  private Tensor ids(int c, int k) {
    Tensor ids = twins.unwritten(DType.I32, ROWS, k);
    for (int t = 0; t < ROWS; t++) {
      int first = twins.random().nextInt(c);
      for (int j = 0; j < k; j++) {
        boolean gap = j == k - 1 && t % 2 == 1;
        ids.setInt(t * k + j, gap ? -1 : (first + j) % c);
      }
    }
    return ids;
  }

  @Test
  @DisplayName("a row without a teacher is plain cross-entropy")
  void withoutTeacherItIsCrossEntropy() {
    int c = 64;
    Tensor logits = twins.mixed(ROWS, c);
    Tensor targets = twins.indices(0, c, ROWS);
    TeacherTargets none =
        new TeacherTargets(twins.indices(-1, 0, ROWS, 4), twins.mixed(ROWS, 4), twins.mixed(ROWS));
    DistillationLoss loss = new DistillationLoss(Divergence.REVERSE, 3, 0.25);
    Kernels kernels = new ReferenceKernels();
    Tensor plain = twins.unwritten(ROWS, c);
    plain.copyFrom(logits);
    Tensor expected = twins.unwritten(ROWS);
    kernels.crossEntropy(expected, plain, targets, 0.5);
    Tensor losses = twins.unwritten(ROWS);
    kernels.distillation(losses, logits, targets, none, loss, 0.5);
    for (int i = 0; i < ROWS; i++) {
      assertThat(losses.getFloat(i)).isEqualTo(expected.getFloat(i));
    }
    for (int i = 0; i < ROWS * c; i++) {
      assertThat(logits.get(i)).isCloseTo(plain.get(i), within(1e-7));
    }
  }

  @Test
  @DisplayName("a teacher of a larger vocabulary is refused with the row")
  void refusesForeignIds() {
    TeacherTargets teacher =
        new TeacherTargets(twins.indices(64, 65, 2, 1), twins.mixed(2, 1), twins.mixed(2));
    assertThatThrownBy(
            () ->
                new ReferenceKernels()
                    .distillation(
                        twins.unwritten(2),
                        twins.mixed(2, 64),
                        twins.indices(0, 64, 2),
                        teacher,
                        new DistillationLoss(Divergence.BUCKET, 1, 0),
                        1))
        .hasMessage("teacher id of row 0 must be below the vocabulary size 64, got 64");
  }
}
