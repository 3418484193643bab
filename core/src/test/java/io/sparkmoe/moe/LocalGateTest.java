package io.sparkmoe.moe;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/**
 * The gating network's rules, one a test. Its weight is the identity, so a token's numbers are the
 * experts' logits. E experts, K experts of a token.
 */
class LocalGateTest {

  private static final long SEED = Long.getLong("moe.seed", 42);
  private static final int LAYER = 3;

  private final Arena arena = new Arena("test", 1 << 26);
  private final Scope scope = arena.scope();

  @AfterEach
  void nothingLeaks() {
    scope.close();
    arena.close();
  }

  private Tensor tensor(double[]... rows) {
    Tensor tensor = scope.allocate(DType.F32, rows.length, rows[0].length);
    for (int i = 0; i < tensor.size(); i++) {
      tensor.set(i, rows[i / rows[0].length][i % rows[0].length]);
    }
    return tensor;
  }

  private Tensor ints(int... values) {
    Tensor tensor = scope.allocate(DType.I32, values.length);
    for (int i = 0; i < values.length; i++) {
      tensor.setInt(i, values[i]);
    }
    return tensor;
  }

  private LocalGate gate(RouterConfig config, double... bias) {
    int numExperts = bias.length;
    Tensor weight = scope.zeros(DType.F32, numExperts, numExperts);
    for (int e = 0; e < numExperts; e++) {
      weight.set(e * numExperts + e, 1);
    }
    Tensor dWeight = scope.zeros(DType.F32, numExperts, numExperts);
    Tensor biases = tensor(bias).reshape(numExperts);
    return new LocalGate(
        config, Map.of(LAYER, new GateWeights(weight, dWeight, biases)), new ReferenceKernels());
  }

  private Routing route(LocalGate gate, Tensor x, int... valid) {
    return gate.route(new GateSite(1, 0, LAYER, false), x, ints(valid), scope).await();
  }

  private static RouterConfig config(int topK, int numGroups, int topGroups) {
    return new RouterConfig(topK, numGroups, topGroups, true, 1, true);
  }

  private static double sigmoid(double x) {
    return 1 / (1 + Math.exp(-x));
  }

  /** The bias decides who is chosen and never what the chosen weigh. */
  @Test
  void weightsComeFromTheUnbiasedScores() {
    LocalGate gate = gate(new RouterConfig(2, 1, 1, true, 2.5, true), 0, 0, 1, 0);
    Routing routing = route(gate, tensor(new double[] {2, 1, -1, 0}), 1);
    assertThat(routing.ids().toIntArray()).containsExactly(0, 2);
    double sum = sigmoid(2) + sigmoid(-1);
    assertThat(routing.weights().get(0)).isCloseTo(2.5 * sigmoid(2) / sum, within(1e-6));
    assertThat(routing.weights().get(1)).isCloseTo(2.5 * sigmoid(-1) / sum, within(1e-6));
  }

  /** (s + b) - b in FP32 would give zero for a small score under a large bias. */
  @Test
  void aTinyScoreUnderALargeBiasKeepsItsWeight() {
    LocalGate gate = gate(new RouterConfig(1, 1, 1, false, 1, true), 0, 12);
    Routing routing = route(gate, tensor(new double[] {3, -18}), 1);
    assertThat(routing.ids().toIntArray()).containsExactly(1);
    assertThat(routing.weights().get(0)).isCloseTo(sigmoid(-18), within(1e-14));
  }

  /**
   * With a mask of zero, an excluded expert would beat every expert whose biased score is negative.
   */
  @Test
  void expertsOfOtherGroupsAreOutEvenWhenAllBiasedScoresAreNegative() {
    LocalGate gate = gate(config(2, 2, 1), -3, -3, -3, -3);
    Routing routing = route(gate, tensor(new double[] {0, 0, 2, 1}), 1);
    assertThat(routing.ids().toIntArray()).containsExactly(2, 3);
  }

  /** One brilliant expert does not make a group: 0.95 + 0.1 is less than 0.62 + 0.62. */
  @Test
  void aGroupIsAsGoodAsItsTwoBestExperts() {
    LocalGate gate = gate(config(1, 2, 1), 0, 0, 0, 0);
    Routing routing = route(gate, tensor(new double[] {3, -2.2, 0.5, 0.5}), 1);
    assertThat(routing.ids().toIntArray()).containsExactly(2);
  }

  @Test
  void theLowestIndexWinsEveryTie() {
    LocalGate gate = gate(config(2, 2, 1), 0, 0, 0, 0);
    Routing routing = route(gate, tensor(new double[] {1, 1, 1, 1}), 1);
    assertThat(routing.ids().toIntArray()).containsExactly(0, 1);
  }

  /**
   * Each of four experts takes one of four tokens, and scores mirror each other: f = 1 for all, and
   * P sums to one.
   */
  @Test
  void aBalancedSequenceScoresExactlyOneBeforeAlpha() {
    LocalGate gate = gate(config(1, 1, 1), 0, 0, 0, 0);
    Tensor x =
        tensor(
            new double[] {2, 0, 0, 0},
            new double[] {0, 2, 0, 0},
            new double[] {0, 0, 2, 0},
            new double[] {0, 0, 0, 2});
    assertThat(route(gate, x, 4).balanceLoss()).isCloseTo(1, within(1e-6));
  }

  @Test
  void withoutABalanceLossTheDecisionsAreTheSame() {
    double[] bias = {0.1, 0, -0.2, 0};
    Tensor x = tensor(new double[] {2, 1, -1, 0}, new double[] {0, 2, 2, 1});
    Routing with = route(gate(new RouterConfig(2, 2, 1, true, 2.5, true), bias), x, 2);
    Routing without = route(gate(new RouterConfig(2, 2, 1, true, 2.5, false), bias), x, 2);
    assertThat(without.ids().toIntArray()).isEqualTo(with.ids().toIntArray());
    assertThat(without.weights().toFloatArray()).isEqualTo(with.weights().toFloatArray());
    assertThat(with.balanceLoss()).isPositive();
    assertThat(without.balanceLoss()).isZero();
  }

  /**
   * All tokens on one expert of four, with score sigmoid(2) against three of 0.5: four times its
   * share.
   */
  @Test
  void aLopsidedSequenceScoresMore() {
    LocalGate gate = gate(config(1, 1, 1), 0, 0, 0, 0);
    Tensor x = tensor(new double[] {2, 0, 0, 0}, new double[] {2, 0, 0, 0});
    double share = sigmoid(2) / (sigmoid(2) + 1.5);
    assertThat(route(gate, x, 2).balanceLoss()).isCloseTo(4 * share, within(1e-6));
  }

  @Test
  void loadCountsTrainingTokensBeforeThePaddingOnce() {
    LocalGate gate = gate(config(1, 1, 1), 0, 0, 0);
    Tensor x =
        tensor(
            new double[] {1, 0, 0},
            new double[] {0, 0, 1},
            new double[] {0, 1, 0},
            new double[] {0, 0, 1});
    gate.route(new GateSite(1, 0, LAYER, true), x, ints(1, 2), scope).await();
    gate.route(new GateSite(1, 1, LAYER, false), x, ints(2, 2), scope).await();
    assertThat(gate.load(LAYER)).containsExactly(1, 1, 1);
    gate.route(new GateSite(1, 2, LAYER, true), x, ints(2, 0), scope).await();
    assertThat(gate.load(LAYER)).containsExactly(2, 1, 2);
    gate.resetLoads();
    assertThat(gate.load(LAYER)).containsExactly(0, 0, 0);
  }

  /**
   * dx receives the gate's share in one addition, on await: on the driver the share comes by wire.
   */
  @Test
  void theShareOfTheGateIsAddedOnAwait() {
    SplittableRandom random = new SplittableRandom(SEED);
    LocalGate gate = gate(config(2, 1, 1), 0, 0, 0);
    Tensor x = tensor(random.doubles(3).toArray(), random.doubles(3).toArray());
    Tensor dWeights = tensor(random.doubles(2).toArray(), random.doubles(2).toArray());
    Tensor alone = scope.zeros(DType.F32, 2, 3);
    Tensor before = tensor(random.doubles(3).toArray(), random.doubles(3).toArray());
    Tensor dx = scope.allocate(DType.F32, 2, 3);
    dx.copyFrom(before);
    for (int microBatch = 0; microBatch < 2; microBatch++) {
      gate.route(new GateSite(1, microBatch, LAYER, true), x, ints(2), scope).await();
    }
    gate.backward(new GateSite(1, 0, LAYER, true), alone, dWeights, 0.1).await();
    Gate.Pending<Void> pending = gate.backward(new GateSite(1, 1, LAYER, true), dx, dWeights, 0.1);
    assertThat(dx.toFloatArray()).isEqualTo(before.toFloatArray());
    pending.await();
    for (int i = 0; i < dx.size(); i++) {
      assertThat(dx.getFloat(i)).isEqualTo(before.getFloat(i) + alone.getFloat(i));
    }
  }

  @Test
  void callsOutOfOrderAreRefused() {
    LocalGate gate = gate(config(1, 1, 1), 0, 0);
    Tensor x = tensor(new double[] {1, 0});
    GateSite site = new GateSite(7, 2, LAYER, true);
    assertThatThrownBy(() -> gate.backward(site, x, x, 0))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("the gate has no forward at " + site + "; route with training first");
    gate.route(site, x, ints(1), scope);
    assertThatThrownBy(() -> gate.route(site, x, ints(1), scope))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("the gate was asked twice at " + site + "; a training site is asked once");
    assertThatThrownBy(() -> gate.load(2))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("layer 2 has no gate; gates are in layers [3]");
  }
}
