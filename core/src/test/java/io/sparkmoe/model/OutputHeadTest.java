package io.sparkmoe.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.layer.ExactLayers;
import io.sparkmoe.model.OutputHead.LossSum;
import io.sparkmoe.parallel.Phase;
import io.sparkmoe.parallel.PhaseClock;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Law: how rows are cut into blocks changes neither the loss nor a gradient. */
class OutputHeadTest {

  private static final long SEED = Long.getLong("moe.seed", 42);
  private static final int T = 11;
  private static final int D = 5;
  private static final int C = 7;

  @ParameterizedTest
  @ValueSource(ints = {1, 3, 10, 11, 64})
  void blocksDoNotMatter(int blockRows) {
    SplittableRandom random = new SplittableRandom(SEED);
    Kernels kernels = new ReferenceKernels();
    try (Arena arena = new Arena("test", 1 << 24);
        Scope scope = arena.scope()) {
      Weight head = new Weight(scope.allocate(DType.F64, C, D), scope.zeros(DType.F64, C, D));
      Tensor normed = scope.allocate(DType.F64, T, D);
      Tensor targets = scope.allocate(DType.I32, T);
      for (int i = 0; i < C * D; i++) {
        head.value().set(i, random.nextGaussian());
      }
      for (int i = 0; i < T * D; i++) {
        normed.set(i, random.nextGaussian());
      }
      for (int t = 0; t < T; t++) {
        targets.setInt(t, t % 4 == 3 ? -1 : random.nextInt(C));
      }
      Tensor logits = scope.allocate(DType.F64, T, C);
      kernels.linear(logits, normed, head.value());
      double expected = 0;
      for (int t = 0; t < T; t++) {
        double sum = 0;
        for (int c = 0; c < C; c++) {
          sum += Math.exp(logits.get(t * C + c));
        }
        int target = targets.getInt(t);
        expected += target < 0 ? 0 : Math.log(sum) - logits.get(t * C + target);
      }

      OutputHead blocks =
          new OutputHead(new ExactLayers(kernels), head, new PhaseClock(Phase.TRUNK), blockRows);
      Tensor dNormed = scope.allocate(DType.F64, T, D);
      LossSum loss =
          blocks.lossAndGradient(dNormed, normed, HeadLoss.crossEntropy(targets), 0.3, scope);
      assertThat(loss.sum()).isCloseTo(expected, within(1e-12));
      assertThat(loss.count()).isEqualTo(9);
      assertThat(blocks.loss(normed, targets, scope)).isEqualTo(loss);
      GradientCheck.check(
          "normed",
          normed,
          dNormed,
          () -> 0.3 * blocks.loss(normed, targets, scope).sum(),
          T * D,
          random);
      GradientCheck.check(
          "head",
          head.value(),
          head.gradient(),
          () -> 0.3 * blocks.loss(normed, targets, scope).sum(),
          C * D,
          random);
    }
  }
}
