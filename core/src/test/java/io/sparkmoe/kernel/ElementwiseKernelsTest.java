package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.kernel.KernelTwins.Fill;
import io.sparkmoe.tensor.Bfloat16Half;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Elements;
import io.sparkmoe.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** T tokens, D width. */
class ElementwiseKernelsTest {

  /** Enough rows that the widest case is cut into several pieces. */
  private static final int ROWS = 37;

  private final KernelTwins twins = new KernelTwins();

  @AfterEach
  void close() {
    twins.close();
  }

  @ParameterizedTest
  @EnumSource(Fill.class)
  void additionAndScaling(Fill fill) {
    for (int d : KernelTwins.SIZES) {
      Tensor y = twins.filled(fill, ROWS, d);
      Tensor x = twins.filled(fill, ROWS, d);
      twins.agree("add", 1, (k, t) -> k.add(t[0], t[1]), y, x);
      twins.agree("addScaled", 1, (k, t) -> k.addScaled(t[0], t[1], -0.37), y, x);
    }
  }

  @ParameterizedTest
  @EnumSource(Fill.class)
  void sumOfSquares(Fill fill) {
    for (int d : KernelTwins.SIZES) {
      Tensor x = twins.filled(fill, ROWS, d);
      // The result goes to a tensor, so that threads are compared bit for bit; both twins sum in
      // double.
      twins.agree(
          "sumOfSquares",
          1,
          (k, t) -> t[0].set(0, k.sumOfSquares(t[1])),
          twins.unwritten(DType.F64, 1),
          x);
    }
  }

  @Test
  void sumOfSquaresKeepsSmallTermsBesideALargeOne() {
    Tensor x = twins.filled(Fill.ZERO, 40_000);
    x.setFloat(0, 1e4f);
    for (int i = 1; i < x.size(); i++) {
      x.setFloat(i, 1e-2f);
    }
    try (Parallel parallel = new ThreadPoolParallel("test", 1)) {
      double sum = new VectorKernels(new ReferenceGemm(), parallel).sumOfSquares(x);
      assertThat(sum - 1e8).isCloseTo(39_999 * 1e-4, within(1e-3));
    }
  }

  @ParameterizedTest
  @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
  void firstNonFiniteNamesTheFirst(float bad) {
    for (int d : KernelTwins.SIZES) {
      Tensor x = twins.mixed(ROWS, d);
      x.setFloat(0, Float.MAX_VALUE);
      twins.agree(
          "all finite",
          0,
          (k, t) -> t[0].set(0, k.firstNonFinite(t[1])),
          twins.unwritten(DType.F64, 1),
          x);
      x.setFloat(x.size() - 1, bad);
      x.setFloat(x.size() / 2, bad);
      twins.agree(
          "one bad",
          0,
          (k, t) -> t[0].set(0, k.firstNonFinite(t[1])),
          twins.unwritten(DType.F64, 1),
          x);
      assertThat(new ReferenceKernels().firstNonFinite(x)).isEqualTo(x.size() / 2);
    }
  }

  @ParameterizedTest
  @EnumSource(Fill.class)
  void rmsNormAndItsBackward(Fill fill) {
    for (int d : KernelTwins.SIZES) {
      Tensor x = twins.filled(fill, ROWS, d);
      Tensor weight = twins.mixed(d);
      Tensor inverseRms = twins.unwritten(ROWS);
      twins.agree(
          "rmsNorm",
          d,
          (k, t) -> k.rmsNorm(t[0], t[1], t[2], t[3], 1e-6),
          twins.unwritten(ROWS, d),
          inverseRms,
          x,
          weight);
      new ReferenceKernels().rmsNorm(twins.unwritten(ROWS, d), inverseRms, x, weight, 1e-6);
      twins.agree(
          "rmsNormBackward",
          d + ROWS,
          (k, t) -> k.rmsNormBackward(t[0], t[1], t[2], t[3], t[4], t[5]),
          twins.mixed(ROWS, d),
          twins.mixed(d),
          twins.mixed(ROWS, d),
          x,
          inverseRms,
          weight);
    }
  }

  @ParameterizedTest
  @EnumSource(Fill.class)
  void swiGluAndItsBackward(Fill fill) {
    for (int f : KernelTwins.SIZES) {
      Tensor gateUp = twins.filled(fill, ROWS, 2 * f);
      Tensor weight = twins.mixed(ROWS);
      Tensor h = twins.unwritten(ROWS, f);
      twins.agree("swiGlu", 1, (k, t) -> k.swiGlu(t[0], t[1], t[2]), h, gateUp, weight);
      twins.agree("swiGlu without weights", 1, (k, t) -> k.swiGlu(t[0], t[1], null), h, gateUp);
      Tensor dh = twins.mixed(ROWS, f);
      Tensor dGateUp = twins.unwritten(ROWS, 2 * f);
      Tensor dWeight = twins.unwritten(ROWS);
      twins.agree(
          "swiGluBackward",
          f,
          (k, t) -> k.swiGluBackward(t[0], t[1], t[2], t[3], t[4], t[5]),
          dGateUp,
          dWeight,
          h,
          dh,
          gateUp,
          weight);
      twins.agree(
          "swiGluBackward without weights",
          1,
          (k, t) -> k.swiGluBackward(t[0], null, t[1], t[2], t[3], null),
          dGateUp,
          h,
          dh,
          gateUp);
      twins.agree(
          "swiGluBackward in place",
          f,
          (k, t) -> k.swiGluBackward(t[0], t[1], t[2], t[2], t[0], t[3]),
          gateUp,
          dWeight,
          dh,
          weight);
      twins.agree(
          "swiGluBackward in place without weights",
          1,
          (k, t) -> k.swiGluBackward(t[0], null, t[1], t[1], t[0], null),
          gateUp,
          dh);
    }
  }

  @Test
  void swiGluAndSigmoidSaturateWithoutNaN() {
    float[] extremes = {
      -1e30f, -1000, -104, -88, -87, -86, 0, -0f, 1e-30f, 86, 88, 89, 104, 1000, 1e18f, 1e30f
    };
    Tensor x = twins.unwritten(extremes.length);
    x.copyFrom(extremes);
    twins.agree("sigmoid", 1, (k, t) -> k.sigmoid(t[0], t[1]), twins.unwritten(extremes.length), x);
    Tensor gateUp = twins.filled(Fill.ZERO, extremes.length, 32);
    for (int i = 0; i < gateUp.size(); i++) {
      gateUp.setFloat(i, i % 32 < 16 ? extremes[i / 32] : 1);
    }
    Tensor h = twins.unwritten(extremes.length, 16);
    Tensor weight = twins.mixed(extremes.length);
    twins.agree("swiGlu", 1, (k, t) -> k.swiGlu(t[0], t[1], t[2]), h, gateUp, weight);
    twins.agree(
        "swiGluBackward",
        16,
        (k, t) -> k.swiGluBackward(t[0], t[1], t[2], t[3], t[4], t[5]),
        twins.unwritten(extremes.length, 32),
        twins.unwritten(extremes.length),
        h,
        twins.mixed(extremes.length, 16),
        gateUp,
        weight);
  }

  @Test
  void nanReachesTheOutput() {
    Tensor x = twins.mixed(2, 64);
    x.setFloat(3, Float.NaN);
    x.setFloat(40, Float.NaN);
    twins.agree("sigmoid", 1, (k, t) -> k.sigmoid(t[0], t[1]), twins.unwritten(2, 64), x);
    twins.agree("swiGlu", 1, (k, t) -> k.swiGlu(t[0], t[1], null), twins.unwritten(2, 32), x);
    twins.agree(
        "rmsNorm",
        64,
        (k, t) -> k.rmsNorm(t[0], t[1], t[2], t[3], 1e-6),
        twins.unwritten(2, 64),
        twins.unwritten(2),
        x,
        twins.mixed(64));
  }

  /**
   * Exponentials over the whole range differ from Math.exp by at most two units in the last place.
   */
  @Test
  void exponentialIsAccurate() {
    int steps = 16 * 2000;
    Tensor x = twins.unwritten(steps);
    for (int i = 0; i < steps; i++) {
      x.setFloat(i, -80 + 160f * i / steps);
    }
    for (int i = 0; i < steps; i += Lanes.LENGTH) {
      float[] got = VectorMath.exp(Lanes.load(x.bytes(), i)).toArray();
      for (int j = 0; j < got.length; j++) {
        double expected = Math.exp(x.getFloat(i + j));
        assertThat(Math.abs(got[j] - expected) / expected)
            .as("exp(%s)", x.getFloat(i + j))
            .isLessThan(2 * 0x1p-23);
      }
    }
  }

  @Test
  void sigmoidAndItsBackward() {
    for (int d : KernelTwins.SIZES) {
      Tensor x = twins.mixed(ROWS, d);
      twins.agree("sigmoid", 1, (k, t) -> k.sigmoid(t[0], t[1]), twins.unwritten(ROWS, d), x);
      Tensor scores = twins.positive(ROWS, d);
      twins.agree(
          "sigmoidBackward",
          1,
          (k, t) -> k.sigmoidBackward(t[0], t[1], t[2]),
          twins.unwritten(ROWS, d),
          x,
          scores);
      twins.agree(
          "sigmoidBackward in place", 1, (k, t) -> k.sigmoidBackward(t[0], t[0], t[1]), x, scores);
    }
  }

  @Test
  void adamWUpdatesAndClearsTheGradient() {
    Kernels.AdamWStep step =
        new Kernels.AdamWStep(2e-3, 0.9, 0.95, 1e-8, 0.1, 0.271, 0.142625, 0.7, true);
    for (int d : KernelTwins.SIZES) {
      Tensor weight = twins.mixed(ROWS, d);
      Tensor first = twins.mixed(ROWS, d);
      Tensor second = twins.positive(ROWS, d);
      Tensor gradient = twins.mixed(ROWS, d);
      twins.agree(
          "adamW",
          1,
          (k, t) -> k.adamW(t[0], t[1], t[2], t[3], step),
          weight,
          first,
          second,
          gradient);
      new ReferenceKernels().adamW(weight, first, second, gradient, step);
      assertThat(gradient.toFloatArray()).containsOnly(0);
    }
  }

  /** Law: without gradients moments fade, but never to denormal numbers, which are slow. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void adamWKeepsMomentsNormal(boolean bfloat16) {
    Kernels.AdamWStep step = new Kernels.AdamWStep(1e-4, 0.9, 0.95, 1e-8, 0.1, 1, 1, 1, true);
    int d = 207;
    Tensor weight = twins.mixed(ROWS, d);
    Tensor first = twins.unwritten(ROWS, d);
    Tensor second = twins.unwritten(ROWS, d);
    Tensor pairs = twins.unwritten(DType.I32, ROWS, d);
    List.of(first, second, pairs).forEach(Tensor::zero);
    Tensor gradient = twins.mixed(ROWS, d);
    try (Gemm gemm = new ReferenceGemm();
        Parallel parallel = new ThreadPoolParallel("test", 1)) {
      Kernels kernels = new VectorKernels(gemm, parallel);
      for (int i = 0; i < 2000; i++) {
        if (bfloat16) {
          kernels.adamWBfloat16(weight, pairs, gradient, step);
        } else {
          kernels.adamW(weight, first, second, gradient, step);
        }
      }
    }
    List<Elements> moments =
        bfloat16
            ? List.of(Bfloat16Half.lower(pairs), Bfloat16Half.upper(pairs))
            : List.of(first, second);
    for (Elements moment : moments) {
      for (int i = 0; i < moment.size(); i++) {
        double value = moment.get(i);
        assertThat(Math.abs(value)).isLessThan(1e-25);
        assertThat(value == 0 || Math.abs(value) >= 0x1p-103).isTrue();
      }
    }
  }

  /** Law: moments in BF16 are moments in F32 that are rounded once after every step. */
  @Test
  void adamWRoundsBfloat16MomentsAfterUse() {
    Kernels.AdamWStep step =
        new Kernels.AdamWStep(2e-3, 0.9, 0.95, 1e-8, 0.1, 0.271, 0.142625, 0.7, true);
    try (Gemm gemm = new ReferenceGemm();
        Parallel parallel = new ThreadPoolParallel("test", 1)) {
      for (Kernels kernels : List.of(new ReferenceKernels(), new VectorKernels(gemm, parallel))) {
        for (int d : KernelTwins.SIZES) {
          Tensor wideFirst = twins.mixed(ROWS, d);
          Tensor wideSecond = twins.positive(ROWS, d);
          kernels.toBfloat16(wideFirst, wideFirst);
          kernels.toBfloat16(wideSecond, wideSecond);
          Tensor pairs = twins.unwritten(DType.I32, ROWS, d);
          Elements first = Bfloat16Half.lower(pairs);
          Elements second = Bfloat16Half.upper(pairs);
          copy(first, wideFirst);
          copy(second, wideSecond);
          Tensor weight = twins.mixed(ROWS, d);
          Tensor sameWeight = copy(weight);
          Tensor gradient = twins.mixed(ROWS, d);
          Tensor sameGradient = copy(gradient);
          kernels.adamWBfloat16(weight, pairs, gradient, step);
          kernels.adamW(sameWeight, wideFirst, wideSecond, sameGradient, step);
          assertThat(weight.toFloatArray()).isEqualTo(sameWeight.toFloatArray());
          kernels.toBfloat16(wideFirst, wideFirst);
          kernels.toBfloat16(wideSecond, wideSecond);
          for (int i = 0; i < wideFirst.size(); i++) {
            assertThat(first.get(i)).isEqualTo(wideFirst.get(i));
            assertThat(second.get(i)).isEqualTo(wideSecond.get(i));
          }
          assertThat(gradient.toFloatArray()).containsOnly(0);
        }
      }
    }
  }

  private static void copy(Elements to, Elements from) {
    for (int i = 0; i < from.size(); i++) {
      to.set(i, from.get(i));
    }
  }

  private Tensor copy(Tensor tensor) {
    Tensor copy = twins.unwritten(tensor.shape());
    copy.copyFrom(tensor);
    return copy;
  }

  @Test
  void bfloat16RoundsToNearestEvenAndKeepsNaN() {
    for (int d : KernelTwins.SIZES) {
      Tensor f32 = twins.mixed(ROWS, d);
      for (int i = 0; i < f32.size(); i += 3) {
        // Exact ties, infinities, the largest float, subnormals and a NaN whose payload lies in the
        // cut half.
        int[] bits = {
          0x3F808000,
          0x3F818000,
          0x7F800000,
          0xFF800000,
          0x7F7FFFFF,
          0x00000001,
          0x80008000,
          0x7F800001,
          0x7FFFFFFF
        };
        f32.setFloat(i, Float.intBitsToFloat(bits[i / 3 % bits.length]));
      }
      Tensor bf16 = twins.unwritten(DType.BF16, ROWS, d);
      twins.agree("toBfloat16", 0, (k, t) -> k.toBfloat16(t[0], t[1]), bf16, f32);
      Tensor inF32 = twins.unwritten(ROWS, d);
      twins.agree("toBfloat16 in F32", 0, (k, t) -> k.toBfloat16(t[0], t[1]), inF32, f32);
      twins.agree("toBfloat16 in place", 0, (k, t) -> k.toBfloat16(t[0], t[0]), f32);
      new ReferenceKernels().toBfloat16(bf16, f32);
      new ReferenceKernels().toBfloat16(inF32, f32);
      assertThat(inF32.toFloatArray()).isEqualTo(bf16.toFloatArray());
      twins.agree(
          "fromBfloat16", 0, (k, t) -> k.fromBfloat16(t[0], t[1]), twins.unwritten(ROWS, d), bf16);
    }
    Tensor tie = twins.unwritten(2);
    tie.copyFrom(Float.intBitsToFloat(0x3F808000), Float.intBitsToFloat(0x3F818000));
    Tensor rounded = twins.unwritten(DType.BF16, 2);
    new ReferenceKernels().toBfloat16(rounded, tie);
    assertThat(rounded.get(0)).isEqualTo(Float.intBitsToFloat(0x3F800000));
    assertThat(rounded.get(1)).isEqualTo(Float.intBitsToFloat(0x3F820000));
  }

  @Test
  void fastKernelsRefuseDoublePrecision() {
    Tensor x = twins.unwritten(DType.F64, 4);
    try (Parallel parallel = new ThreadPoolParallel("test", 1)) {
      Kernels kernels = new VectorKernels(new ReferenceGemm(), parallel);
      assertThatThrownBy(() -> kernels.add(x, x))
          .hasMessage(
              "VectorKernels compute on F32 tensors, got F64[4]; use ReferenceKernels for other types");
    }
  }

  @Test
  void sizesThatDisagreeAreNamed() {
    assertThatThrownBy(() -> new ReferenceKernels().add(twins.mixed(2, 3), twins.mixed(4)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("elements of F32[4] beside F32[2, 3] must be 6, got 4");
  }
}
