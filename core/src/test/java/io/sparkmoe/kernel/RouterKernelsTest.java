package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.kernel.KernelTwins.Fill;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/**
 * The router's kernels, each known trap of it by name, on both twins. T tokens, E experts, K
 * experts of a token.
 */
class RouterKernelsTest {

  private final KernelTwins twins = new KernelTwins();
  private final Parallel parallel = new ThreadPoolParallel("test", 2);
  private final List<Kernels> both =
      List.of(new ReferenceKernels(), new VectorKernels(new ReferenceGemm(), parallel));

  @AfterEach
  void close() {
    parallel.close();
    twins.close();
  }

  private Tensor row(float... values) {
    Tensor tensor = twins.unwritten(1, values.length);
    tensor.copyFrom(values);
    return tensor;
  }

  /** What both twins choose, which must be the same. */
  private int[] choose(Tensor scores, Tensor bias, int topK, int numGroups, int topGroups) {
    int[] chosen = null;
    for (Kernels kernels : both) {
      Tensor ids = twins.unwritten(DType.I32, scores.rows(), topK);
      kernels.selectExperts(ids, scores, bias, numGroups, topGroups);
      if (chosen != null) {
        assertThat(ids.toIntArray()).isEqualTo(chosen);
      }
      chosen = ids.toIntArray();
    }
    return chosen;
  }

  @Test
  void twinsChooseTheSameExperts() {
    // E, K, groups, groups kept: up to the largest sizes meant
    int[][] shapes = {
      {4, 1, 1, 1},
      {13, 3, 1, 1},
      {16, 4, 4, 2},
      {64, 64, 1, 1},
      {207, 7, 9, 4},
      {256, 8, 8, 4},
      {4096, 64, 16, 8}
    };
    for (int[] z : shapes) {
      int tokens = z[0] > 1000 ? 5 : 90;
      Tensor scores = twins.positive(tokens, z[0]);
      for (int i = 0; i < scores.size(); i++) {
        // Coarse scores make ties in experts and in group sums.
        scores.setFloat(i, Math.round(scores.getFloat(i) * 32) / 32f);
      }
      for (Tensor bias : new Tensor[] {null, twins.mixed(z[0])}) {
        int[] ids = choose(scores, bias, z[1], z[2], z[3]);
        for (int i = 0; i < ids.length; i++) {
          boolean firstOfToken = i % z[1] == 0;
          assertThat(ids[i]).isBetween(firstOfToken ? 0 : ids[i - 1] + 1, z[0] - 1);
        }
      }
    }
  }

  @Test
  void maskedGroupsAreMinusInfinityNotZero() {
    // Every biased score is negative: masked groups at 0 would win over all that is allowed.
    Tensor scores = row(0.9f, 0.8f, 0.1f, 0.1f, 0.1f, 0.1f);
    Tensor bias = row(-5, -5, -5, -5, -5, -5);
    assertThat(choose(scores, bias, 2, 3, 1)).containsExactly(0, 1);
  }

  @Test
  void choiceDoesNotChangeWhenAllBiasesMoveTogether() {
    Tensor scores = twins.positive(50, 32);
    Tensor bias = twins.filled(Fill.ZERO, 32);
    Tensor shifted = twins.filled(Fill.ZERO, 32);
    for (int i = 0; i < 32; i++) {
      bias.setFloat(i, i % 5 / 8f);
      shifted.setFloat(i, i % 5 / 8f - 64);
      for (int t = 0; t < 50; t++) {
        // In steps that stay exact beside the shift.
        scores.setFloat(t * 32 + i, Math.round(scores.getFloat(t * 32 + i) * 4096) / 4096f);
      }
    }
    assertThat(choose(scores, shifted, 4, 8, 3)).isEqualTo(choose(scores, bias, 4, 8, 3));
  }

  @Test
  void groupScoreIsTheSumOfItsTwoBestWithBias() {
    // Group 0 has the single best, group 1 the best pair.
    Tensor scores = row(0.9f, 0.1f, 0.6f, 0.6f);
    Tensor bias = row(0, 0, 0, 0);
    assertThat(choose(scores, bias, 2, 2, 1)).containsExactly(2, 3);
  }

  @Test
  void groupScoreIsItsBestWithoutBias() {
    Tensor scores = row(0.9f, 0.1f, 0.6f, 0.6f);
    assertThat(choose(scores, null, 2, 2, 1)).containsExactly(0, 1);
  }

  @Test
  void lowestIndexWinsTies() {
    Tensor equal = twins.filled(Fill.LARGE, 1, 16);
    assertThat(choose(equal, null, 5, 1, 1)).containsExactly(0, 1, 2, 3, 4);
    assertThat(choose(equal, twins.filled(Fill.ZERO, 16), 5, 4, 2)).containsExactly(0, 1, 2, 3, 4);
    assertThat(choose(row(0.1f, 0.5f, 0.5f, 0.7f, 0.5f), null, 2, 1, 1)).containsExactly(1, 3);
  }

  @Test
  void lowestGroupWinsTies() {
    assertThat(choose(row(0.1f, 0.2f, 0.4f, 0.5f, 0.5f, 0.4f), row(0, 0, 0, 0, 0, 0), 2, 3, 1))
        .containsExactly(2, 3);
  }

  @Test
  void biasedScoresAreComparedInTheirOwnPrecision() {
    // Beside a bias of 12 a difference of 1e-8 is lost, so it is a tie and the lowest index wins.
    assertThat(choose(row(1e-8f, 2e-8f, 0), row(12, 12, 12), 1, 1, 1)).containsExactly(0);
  }

  @Test
  void weightsComeFromUnbiasedScores() {
    // A score recovered as (s + b) - b would be zero, and so would the weights.
    Tensor scores = row(1e-8f, 3e-8f, 0.5f, 0.5f);
    Tensor bias = row(12, 12, 0, 0);
    assertThat(choose(scores, bias, 2, 1, 1)).containsExactly(0, 1);
    for (Kernels kernels : both) {
      Tensor ids = twins.unwritten(DType.I32, 1, 2);
      Tensor weights = twins.unwritten(1, 2);
      kernels.selectExperts(ids, scores, bias, 1, 1);
      kernels.routingWeights(weights, scores, ids, true, 2.5);
      assertThat(weights.get(0)).isCloseTo(0.25 * 2.5, within(1e-6));
      assertThat(weights.get(1)).isCloseTo(0.75 * 2.5, within(1e-6));
    }
  }

  @Test
  void scoresThatUnderflowGiveZeroWeightsNotNaN() {
    for (Kernels kernels : both) {
      Tensor ids = twins.unwritten(DType.I32, 1, 2);
      Tensor weights = twins.unwritten(1, 2);
      Tensor scores = twins.filled(Fill.ZERO, 1, 4);
      kernels.selectExperts(ids, scores, null, 1, 1);
      kernels.routingWeights(weights, scores, ids, true, 1);
      assertThat(weights.toFloatArray()).containsOnly(0);
    }
  }

  @Test
  void notANumberStillGivesDistinctExperts() {
    Tensor scores = twins.filled(Fill.LARGE, 1, 8);
    for (int i = 0; i < 8; i++) {
      scores.setFloat(i, Float.NaN);
    }
    for (Kernels kernels : both) {
      Tensor ids = twins.unwritten(DType.I32, 1, 3);
      kernels.selectExperts(ids, scores, twins.filled(Fill.ZERO, 8), 4, 2);
      assertThat(ids.toIntArray()).doesNotHaveDuplicates();
      for (int id : ids.toIntArray()) {
        assertThat(id).isBetween(0, 7);
      }
    }
  }

  @Test
  void topologiesThatCannotBeRoutedAreRefused() {
    Tensor scores = twins.positive(1, 12);
    Tensor bias = twins.mixed(12);
    assertThatThrownBy(() -> choose(scores, bias, 2, 5, 2))
        .hasMessage("expert groups must divide numExperts=12, got 5");
    assertThatThrownBy(() -> choose(scores, bias, 2, 12, 3))
        .hasMessage(
            "a group must have at least 2 experts for its top-2 score, got 1; use fewer groups");
    assertThatThrownBy(() -> choose(scores, bias, 7, 4, 2))
        .hasMessage("top-k must be at most the 6 experts of 2 groups, got 7");
    assertThatThrownBy(() -> choose(scores, bias, 2, 4, 5))
        .hasMessage("top groups must be in [1, numGroups=4], got 5");
  }

  @Test
  void weightsAndTheirBackward() {
    for (int[] z : new int[][] {{1, 4, 1}, {37, 13, 3}, {300, 256, 8}}) {
      Tensor scores = twins.positive(z[0], z[1]);
      Tensor ids = twins.unwritten(DType.I32, z[0], z[2]);
      new ReferenceKernels().selectExperts(ids, scores, null, 1, 1);
      for (boolean normalise : new boolean[] {true, false}) {
        twins.agree(
            "routingWeights",
            z[2],
            (k, t) -> k.routingWeights(t[0], t[1], t[2], normalise, 2.5),
            twins.unwritten(z[0], z[2]),
            scores,
            ids);
        twins.agree(
            "routingWeightsBackward",
            z[2],
            (k, t) -> k.routingWeightsBackward(t[0], t[1], t[2], t[3], normalise, 2.5),
            twins.mixed(z[0], z[1]),
            twins.mixed(z[0], z[2]),
            scores,
            ids);
        twins.agree(
            "chosenLogitsBackward",
            z[2],
            (k, t) -> k.chosenLogitsBackward(t[0], t[1], t[2], t[3], normalise, 2.5),
            twins.unwritten(z[0], z[2]),
            twins.mixed(z[0], z[2]),
            scores,
            ids);
      }
    }
  }

  @Test
  void balanceLossAndItsGradient() {
    for (int[] z : new int[][] {{1, 1, 4, 1}, {3, 7, 13, 3}, {4, 64, 256, 8}}) {
      Tensor scores = twins.positive(z[0] * z[1], z[2]);
      Tensor valid = twins.indices(0, z[1] + 1, z[0]);
      valid.setInt(0, z[1]);
      twins.agree(
          "balanceLoss",
          z[2],
          (k, t) -> t[0].set(0, (float) k.balanceLoss(t[1], t[2], t[3], z[3])),
          twins.unwritten(1),
          twins.unwritten(z[0], z[2]),
          scores,
          valid);
      twins.agree(
          "balanceLossBackward",
          z[2],
          (k, t) -> k.balanceLossBackward(t[0], t[1], t[2], t[3], 0.01),
          twins.mixed(z[0] * z[1], z[2]),
          scores,
          twins.positive(z[0], z[2]),
          valid);
    }
  }

  /** Law: a perfectly balanced sequence has loss 1. */
  @Test
  void balanceLossOfABalancedSequenceIsOne() {
    Tensor scores = twins.filled(Fill.ZERO, 8, 8);
    for (int t = 0; t < 8; t++) {
      for (int e = 0; e < 8; e++) {
        scores.setFloat(t * 8 + (t + e) % 8, e < 2 ? 0.9f : 0.1f);
      }
    }
    Tensor valid = twins.unwritten(DType.I32, 1);
    valid.setInt(0, 8);
    for (Kernels kernels : both) {
      Tensor frequency = twins.unwritten(1, 8);
      assertThat(kernels.balanceLoss(frequency, scores, valid, 2)).isCloseTo(1, within(1e-6));
      assertThat(frequency.toFloatArray()).containsOnly(1);
    }
  }

  @Test
  void paddingIsNotPartOfTheBalanceLoss() {
    Tensor scores = twins.positive(10, 8);
    Tensor padded = twins.unwritten(10, 8);
    padded.copyFrom(scores);
    for (int i = 6 * 8; i < 80; i++) {
      padded.setFloat(i, Float.NaN);
    }
    Tensor valid = twins.unwritten(DType.I32, 1);
    valid.setInt(0, 6);
    for (Kernels kernels : both) {
      Tensor frequency = twins.unwritten(1, 8);
      double loss = kernels.balanceLoss(frequency, scores, valid, 2);
      assertThat(kernels.balanceLoss(frequency, padded, valid, 2)).isEqualTo(loss);
      Tensor gradient = twins.filled(Fill.ZERO, 10, 8);
      kernels.balanceLossBackward(gradient, padded, frequency, valid, 1);
      assertThat(gradient.view(48, 32).toFloatArray()).containsOnly(0);
    }
  }
}
