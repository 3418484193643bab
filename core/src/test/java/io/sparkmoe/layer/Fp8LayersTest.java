package io.sparkmoe.layer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/**
 * Layers in FP8 against the same ones in FP32. T tokens, R rows, D model width, F inner width, E
 * experts; widths above one tile and not multiples of it.
 */
class Fp8LayersTest {

  private static final long SEED = Long.getLong("moe.seed", 42);
  private static final int T = 150;
  private static final int D = 136;
  private static final int F = 72;
  private static final int E = 3;

  /**
   * An E4M3 code is off by some 2^-5.3 of its value in the mean square, independently for all, so
   * what comes of n operands has a cosine of about 1 - n 2^-11.6 with the exact result. Here n is
   * at most 6, and SwiGLU, which multiplies two of its inputs, more than doubles their errors.
   */
  private static final double LEAST_COSINE = 1 - 16 * Math.pow(2, -11.6);

  private final SplittableRandom random = new SplittableRandom(SEED);
  private final Kernels kernels = new ReferenceKernels();
  private final Arena arena = new Arena("test", 1 << 28);
  private final Scope scope = arena.scope();
  private final Layers exact = new ExactLayers(kernels);
  private final Fp8Layers fp8 = new Fp8Layers(kernels, Fp8Recipe.DEEPSEEK, arena);

  @AfterEach
  void nothingLeaks() {
    fp8.close();
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

  private Weight weight(int... shape) {
    return new Weight(gaussian(shape), scope.zeros(DType.F32, shape));
  }

  private Weight twin(Weight weight) {
    return new Weight(weight.value(), scope.zeros(DType.F32, weight.value().shape()));
  }

  private ProjectionInput input(Layers layers, Tensor x) {
    return layers.input(x, scope, scope);
  }

  /** Both point the same way and are equally long. */
  private static void assertAlike(String name, Tensor actual, Tensor expected) {
    double dot = 0;
    double aa = 0;
    double ee = 0;
    for (int i = 0; i < actual.size(); i++) {
      dot += actual.get(i) * expected.get(i);
      aa += actual.get(i) * actual.get(i);
      ee += expected.get(i) * expected.get(i);
    }
    assertThat(dot / Math.sqrt(aa * ee)).as("cosine of " + name).isGreaterThan(LEAST_COSINE);
    // What is rounded to nearest shrinks and grows alike.
    assertThat(dot / ee).as("scale of " + name).isCloseTo(1, within(0.01));
    assertThat(actual.toFloatArray()).as(name).isNotEqualTo(expected.toFloatArray());
  }

  @Test
  void projection() {
    Weight weight = weight(F, D);
    Weight twin = twin(weight);
    Projection rounded = fp8.projection(weight);
    Projection reference = exact.projection(twin);
    Tensor x = gaussian(T, D);
    Tensor dy = gaussian(T, F);
    Tensor y = gaussian(T, F);
    Tensor yExact = scope.allocate(DType.F32, T, F);
    yExact.copyFrom(y);
    Tensor dx = scope.allocate(DType.F32, T, D);
    Tensor dxExact = scope.allocate(DType.F32, T, D);
    ProjectionInput in = input(fp8, x);
    ProjectionInput inExact = input(exact, x);
    rounded.forwardAdd(y, in);
    reference.forwardAdd(yExact, inExact);
    rounded.backward(dx, dy, in.forGradient(scope), scope);
    reference.backward(dxExact, dy, inExact.forGradient(scope), scope);
    assertAlike("y", y, yExact);
    assertAlike("dx", dx, dxExact);
    assertAlike("dw", weight.gradient(), twin.gradient());
  }

  @Test
  void feedForward() {
    List<Weight> weights = List.of(weight(2 * F, D), weight(D, F));
    List<Weight> twins = weights.stream().map(this::twin).toList();
    FeedForward rounded = fp8.feedForward(weights.get(0), weights.get(1));
    FeedForward reference = exact.feedForward(twins.get(0), twins.get(1));
    Tensor x = gaussian(T, D);
    kernels.addScaled(x, x, -0.9);
    Tensor dy = gaussian(T, D);
    Tensor y = scope.zeros(DType.F32, T, D);
    Tensor yExact = scope.zeros(DType.F32, T, D);
    Tensor dx = scope.zeros(DType.F32, T, D);
    Tensor dxExact = scope.zeros(DType.F32, T, D);
    rounded.backward(dx, dy, rounded.forward(y, input(fp8, x), scope), scope);
    reference.backward(dxExact, dy, reference.forward(yExact, input(exact, x), scope), scope);
    assertAlike("y", y, yExact);
    assertAlike("dx", dx, dxExact);
    assertAlike("dGateUp", weights.get(0).gradient(), twins.get(0).gradient());
    assertAlike("dDown", weights.get(1).gradient(), twins.get(1).gradient());
  }

  /** Every token has two of three experts; the last of these has no row. */
  @Test
  void experts() {
    int[] starts = {0, T, 2 * T, 2 * T};
    Tensor token = scope.allocate(DType.I32, 2 * T);
    for (int row = 0; row < 2 * T; row++) {
      token.setInt(row, row % T);
    }
    Tensor rowWeights = gaussian(2 * T);
    ExpertRows rows = new ExpertRows(starts, token, rowWeights);
    List<Weight> weights = List.of(weight(E, 2 * F, D), weight(E, D, F));
    List<Weight> twins = weights.stream().map(this::twin).toList();
    Experts rounded = fp8.experts(weights.get(0), weights.get(1));
    Experts reference = exact.experts(twins.get(0), twins.get(1));
    Tensor x = gaussian(T, D);
    kernels.addScaled(x, x, -0.9);
    Tensor dy = gaussian(T, D);
    Tensor y = scope.zeros(DType.F32, T, D);
    Tensor yExact = scope.zeros(DType.F32, T, D);
    Tensor dx = scope.zeros(DType.F32, T, D);
    Tensor dxExact = scope.zeros(DType.F32, T, D);
    Tensor dWeights = scope.allocate(DType.F32, 2 * T);
    Tensor dWeightsExact = scope.allocate(DType.F32, 2 * T);
    rounded.backward(dx, dWeights, dy, rounded.forward(y, input(fp8, x), rows, scope), scope);
    reference.backward(
        dxExact, dWeightsExact, dy, reference.forward(yExact, input(exact, x), rows, scope), scope);
    assertAlike("y", y, yExact);
    assertAlike("dx", dx, dxExact);
    assertAlike("dRowWeights", dWeights, dWeightsExact);
    assertAlike("dGateUp", weights.get(0).gradient(), twins.get(0).gradient());
    assertAlike("dDown", weights.get(1).gradient(), twins.get(1).gradient());
  }

  /** Law: a value is rounded once, so rounding an input that is FP8 already changes nothing. */
  @Test
  void whatIsFp8AlreadyPassesUnchanged() {
    Tensor x = gaussian(T, D);
    Fp8Input once = Fp8Input.of(input(fp8, x));
    Tensor again = scope.allocate(DType.F32, T, D);
    kernels.fromBfloat16(again, once.operand());
    assertThat(Fp8Input.of(input(fp8, again)).operand().toFloatArray())
        .isEqualTo(once.operand().toFloatArray());
    Tensor restored = scope.allocate(DType.F32, T, D);
    kernels.dequantize(restored, once.kept());
    assertThat(restored.toFloatArray()).isEqualTo(again.toFloatArray());
  }
}
