package io.sparkmoe.moe;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.layer.ExactLayers;
import io.sparkmoe.layer.FeedForward;
import io.sparkmoe.layer.Layers;
import io.sparkmoe.parallel.Phase;
import io.sparkmoe.parallel.PhaseClock;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Laws of the mixture of experts. T tokens, D model width, E experts, F expert width. */
class MixtureOfExpertsTest {

  private static final long SEED = Long.getLong("moe.seed", 42);
  private static final int E = 8;
  private static final int D = 6;
  private static final RouterConfig ROUTER = new RouterConfig(3, 4, 2, true, 1, true);

  private final Kernels kernels = new ReferenceKernels();
  private final Layers layers = new ExactLayers(kernels);
  private final RandomGenerator random = new SplittableRandom(SEED);
  private final Arena arena = new Arena("test", 1 << 26);
  private final Scope scope = arena.scope();

  @AfterEach
  void nothingLeaks() {
    scope.close();
    arena.close();
  }

  private Tensor gaussian(int... shape) {
    Tensor tensor = scope.allocate(DType.F32, shape);
    for (int i = 0; i < tensor.size(); i++) {
      tensor.set(i, random.nextGaussian());
    }
    return tensor;
  }

  private Weight weight(Tensor value) {
    return new Weight(value, scope.zeros(DType.F32, value.shape()));
  }

  private LocalGate gate(Tensor weight) {
    Tensor gradient = scope.zeros(DType.F32, E, D);
    return new LocalGate(
        ROUTER, Map.of(0, new GateWeights(weight, gradient, scope.zeros(DType.F32, E))), kernels);
  }

  private Tensor run(MixtureOfExperts layer, Tensor x) {
    Tensor y = scope.zeros(DType.F32, x.shape());
    Tensor valid = scope.allocate(DType.I32, 1);
    valid.setInt(0, x.rows());
    layer.forward(new GateSite(1, 0, 0, false), y, x, valid, null, scope, scope);
    return y;
  }

  /** Law: tokens permuted in = outputs permuted out. */
  @Test
  void permutedTokensGivePermutedOutputs() {
    FeedForward shared = layers.feedForward(weight(gaussian(4, D)), weight(gaussian(D, 2)));
    MixtureOfExperts layer =
        new MixtureOfExperts(
            gate(gaussian(E, D)),
            new DirectDispatcher(E),
            layers,
            layers.experts(weight(gaussian(E, 2 * 5, D)), weight(gaussian(E, D, 5))),
            shared,
            new PhaseClock(Phase.TRUNK));
    int[] permutation = {4, 0, 6, 2, 1, 5, 3};
    Tensor x = gaussian(7, D);
    Tensor permuted = scope.allocate(DType.F32, 7, D);
    for (int i = 0; i < permuted.size(); i++) {
      permuted.set(i, x.get(permutation[i / D] * D + i % D));
    }
    Tensor y = run(layer, x);
    Tensor permutedY = run(layer, permuted);
    for (int i = 0; i < permuted.size(); i++) {
      assertThat(permutedY.getFloat(i)).isEqualTo(y.getFloat(permutation[i / D] * D + i % D));
    }
  }

  /**
   * Law: identity experts with weights that sum to one return the input. An expert becomes the
   * identity when its gate sees only the last channel, which is one: then up is the input and silu
   * of the constant is divided out in down.
   */
  @Test
  void identityExpertsReturnTheInput() {
    double constant = 2;
    double silu = constant / (1 + Math.exp(-constant));
    Tensor gateUp = scope.zeros(DType.F32, E, 2 * D, D);
    Tensor down = scope.zeros(DType.F32, E, D, D);
    for (int e = 0; e < E; e++) {
      for (int i = 0; i < D; i++) {
        gateUp.set((e * 2 * D + i) * D + D - 1, constant);
        gateUp.set((e * 2 * D + D + i) * D + i, 1);
        down.set((e * D + i) * D + i, 1 / silu);
      }
    }
    MixtureOfExperts layer =
        new MixtureOfExperts(
            gate(gaussian(E, D)),
            new DirectDispatcher(E),
            layers,
            layers.experts(weight(gateUp), weight(down)),
            null,
            new PhaseClock(Phase.TRUNK));
    Tensor x = gaussian(9, D);
    for (int t = 0; t < 9; t++) {
      x.set(t * D + D - 1, 1);
    }
    Tensor y = run(layer, x);
    for (int i = 0; i < x.size(); i++) {
      assertThat(y.getFloat(i)).isCloseTo(x.getFloat(i), within(1e-5f));
    }
  }

  /** The gate's round trip is hidden behind the shared expert, forward and backward. */
  @Test
  void theSharedExpertRunsWhileTheGateDecides() {
    List<String> calls = new ArrayList<>();
    LocalGate local = gate(gaussian(E, D));
    Tensor y = scope.zeros(DType.F32, 2, D);
    Tensor dx = scope.zeros(DType.F32, 2, D);
    Gate slow =
        new Gate() {
          @Override
          public Pending<Routing> route(GateSite site, Tensor x, Tensor valid, Scope owner) {
            Pending<Routing> answer = local.route(site, x, valid, owner);
            calls.add("asked, y " + (kernels.sumOfSquares(y) == 0 ? "empty" : "filled"));
            return () -> {
              calls.add("answered, y " + (kernels.sumOfSquares(y) == 0 ? "empty" : "filled"));
              return answer.await();
            };
          }

          @Override
          public Pending<Void> backward(GateSite site, Tensor d, Tensor dWeights, double balance) {
            Pending<Void> answer = local.backward(site, d, dWeights, balance);
            double before = kernels.sumOfSquares(d);
            return () -> {
              calls.add("dx " + (kernels.sumOfSquares(d) == before ? "unchanged" : "changed"));
              return answer.await();
            };
          }
        };
    FeedForward shared = layers.feedForward(weight(gaussian(4, D)), weight(gaussian(D, 2)));
    MixtureOfExperts layer =
        new MixtureOfExperts(
            slow,
            new DirectDispatcher(E),
            layers,
            layers.experts(weight(gaussian(E, 2 * 5, D)), weight(gaussian(E, D, 5))),
            shared,
            new PhaseClock(Phase.TRUNK));
    Tensor valid = scope.allocate(DType.I32, 1);
    valid.setInt(0, 2);
    MixtureOfExperts.Saved saved =
        layer.forward(new GateSite(1, 0, 0, true), y, gaussian(2, D), valid, null, scope, scope);
    layer.backward(dx, gaussian(2, D), saved, 0, scope);
    assertThat(calls).containsExactly("asked, y empty", "answered, y filled", "dx changed");
  }
}
