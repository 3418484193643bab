package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Products with weights held in F32, BF16 and FP8. */
class PanelMatrixTest {

  private static final long SEED = Long.getLong("moe.seed", 20253);

  /** Outputs and inputs with every tail: of a register, a panel, a group, a block of scales. */
  private static final int[][] SHAPES = {
    {1, 1}, {33, 7}, {31, 130}, {129, 128}, {64, 257}, {300, 66}, {16, 515}
  };

  private final ComputeEngine engine = ComputeEngine.open("test", "onednn", 2);
  private final DecodeKernels fast = engine.decodeKernels();
  private final DecodeKernels reference = new ReferenceDecodeKernels();
  private final Random random = new Random(SEED);
  private Arena arena;
  private Scope scope;

  @BeforeEach
  void openScope() {
    arena = new Arena("test", 256L << 20);
    scope = arena.scope();
  }

  @AfterEach
  void closeScope() {
    scope.close();
    arena.close();
    engine.close();
  }

  /** How weights are held. */
  enum Held {
    F32(DType.F32),
    BF16(DType.BF16),
    FP8(DType.F8_E4M3);

    final DType type;

    Held(DType type) {
      this.type = type;
    }
  }

  /** Law: a product is the sum over what the weights were rounded to, and both twins agree. */
  @ParameterizedTest
  @EnumSource(Held.class)
  void productsAreSumsOverTheRoundedWeights(Held held) {
    for (int[] shape : SHAPES) {
      Tensor w = weights(shape[0], shape[1]);
      PanelMatrix packed = pack(held, w, fast);
      PanelMatrix byReference = pack(held, w, reference);
      assertThat(packed.values().toFloatArray()).isEqualTo(byReference.values().toFloatArray());
      PanelMatrix wide = pack(Held.F32, rounded(held, w), fast);
      for (int rows = 1; rows <= 11; rows++) {
        Tensor x = gaussian(rows, shape[1]);
        Tensor y = scope.allocate(DType.F32, rows, shape[0]);
        Tensor expected = scope.allocate(DType.F32, rows, shape[0]);
        Tensor inDouble = scope.allocate(DType.F32, rows, shape[0]);

        fast.linear(y, x, packed, false);
        fast.linear(expected, x, wide, false);
        reference.linear(inDouble, x, packed, false);

        // The same chain of operations: scales are powers of two, decoding is exact.
        assertThat(y.toFloatArray())
            .as("%s %s, %d rows", held, Arrays.toString(shape), rows)
            .containsExactly(expected.toFloatArray());
        float bound = 1e-5f * (float) Math.sqrt(shape[1]) * 4;
        assertThat(y.toFloatArray()).containsExactly(inDouble.toFloatArray(), within(bound));
      }
    }
  }

  /** Law: factors that decoding moves to inputs and sums are exact over all usual magnitudes. */
  @ParameterizedTest
  @EnumSource(Held.class)
  void inputsOfEveryMagnitudeGiveTheSumsOverDecodedWeights(Held held) {
    int inputs = 130;
    Tensor w = weights(70, inputs);
    PanelMatrix packed = pack(held, w, fast);
    PanelMatrix decoded = pack(Held.F32, rounded(held, w), fast);
    for (int exponent = -8; exponent <= 14; exponent++) {
      Tensor x = gaussian(11, inputs);
      for (int i = 0; i < x.size(); i++) {
        x.set(i, x.get(i) * Math.pow(10, exponent));
      }
      Tensor y = gaussian(11, 70);
      Tensor expected = scope.allocate(DType.F32, 11, 70);
      expected.copyFrom(y);
      fast.linear(y, x, packed, true);
      fast.linear(expected, x, decoded, true);
      assertThat(y.toFloatArray())
          .as("%s, 10^%d, seed %d", held, exponent, SEED)
          .containsExactly(expected.toFloatArray());
    }
  }

  /** Law: a row's bits do not depend on the rows beside it; two-token verification relies on it. */
  @ParameterizedTest
  @EnumSource(Held.class)
  void aRowHasTheSameBitsAmongAnyNumberOfRows(Held held) {
    for (int[] shape : SHAPES) {
      PanelMatrix w = pack(held, weights(shape[0], shape[1]), fast);
      int most = 17;
      Tensor x = gaussian(most, shape[1]);
      Tensor together = scope.allocate(DType.F32, most, shape[0]);
      fast.linear(together, x, w, false);
      for (int rows = 1; rows < most; rows++) {
        Tensor y = scope.allocate(DType.F32, rows, shape[0]);
        fast.linear(y, x.view(0, rows, shape[1]), w, false);
        assertThat(y.toFloatArray())
            .as("%s %s, %d rows, seed %d", held, Arrays.toString(shape), rows, SEED)
            .containsExactly(Arrays.copyOf(together.toFloatArray(), rows * shape[0]));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Held.class)
  void expertsAndHeadsReadTheirOwnMatrix(Held held) {
    int count = 5;
    int outputs = 40;
    int inputs = 150;
    PanelMatrix w = PanelMatrix.allocate(held.type, count, outputs, inputs, scope);
    for (int e = 0; e < count; e++) {
      pack(held, weights(outputs, inputs), fast, w, e);
    }
    int[] rowStarts = {0, 1, 1, 4, 6, 7};
    Tensor x = gaussian(7, inputs);
    Tensor y = scope.allocate(DType.F32, 7, outputs);
    Tensor expected = scope.allocate(DType.F32, 7, outputs);
    fast.grouped(y, x, null, w, rowStarts);
    reference.grouped(expected, x, null, w, rowStarts);
    assertThat(y.toFloatArray()).containsExactly(expected.toFloatArray(), within(1e-3f));

    Tensor heads = gaussian(3, count, inputs);
    Tensor out = scope.zeros(DType.F32, 3, count, outputs);
    Tensor outExpected = scope.zeros(DType.F32, 3, count, outputs);
    fast.perHead(out, heads, w);
    reference.perHead(outExpected, heads, w);
    assertThat(out.toFloatArray()).containsExactly(outExpected.toFloatArray(), within(1e-3f));
  }

  @Test
  void narrowerWeightsTakeHalfAndAQuarterOfTheBytes() {
    Tensor w = weights(256, 256);
    long wide = pack(Held.F32, w, fast).bytesOfOne();
    assertThat(wide).isEqualTo(256 * 256 * 4);
    assertThat(pack(Held.BF16, w, fast).bytesOfOne()).isEqualTo(wide / 2);
    // One scale byte for each panel of 32 outputs and 128 inputs.
    assertThat(pack(Held.FP8, w, fast).bytesOfOne()).isEqualTo(wide / 4 + 8 * 2);
  }

  @Test
  void typesThatDoNotFitAreRefused() {
    PanelMatrix fp8 = PanelMatrix.allocate(DType.F8_E4M3, 1, 4, 4, scope);
    assertThatThrownBy(() -> fast.pack(fp8, 0, gaussian(4, 4)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("take a quantised matrix, got F32[4, 4]");
    PanelMatrix wide = PanelMatrix.allocate(DType.F64, 1, 4, 4, scope);
    assertThatThrownBy(() -> fast.pack(wide, 0, gaussian(4, 4)))
        .hasMessageContaining("VectorDecodeKernels read F32, BF16 or F8_E4M3 weights");
    assertThatThrownBy(() -> new PanelMatrix(fp8.values(), null, 1, 4, 4))
        .hasMessageContaining("must have scales just if they are F8_E4M3");
  }

  private PanelMatrix pack(Held held, Tensor w, DecodeKernels kernels) {
    PanelMatrix packed = PanelMatrix.allocate(held.type, 1, w.dim(0), w.dim(1), scope);
    pack(held, w, kernels, packed, 0);
    return packed;
  }

  private void pack(Held held, Tensor w, DecodeKernels kernels, PanelMatrix into, int matrix) {
    if (held == Held.FP8) {
      kernels.pack(into, matrix, quantized(w));
    } else {
      kernels.pack(into, matrix, w);
    }
  }

  private Fp8Tensor quantized(Tensor w) {
    Fp8Tensor codes = Fp8Tensor.allocate(scope, Fp8Format.E4M3, w.shape());
    engine
        .kernels()
        .quantize(
            null,
            codes,
            w,
            null,
            new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.BLOCK_128X128),
            null);
    return codes;
  }

  /** What a matrix becomes when it is held so. */
  private Tensor rounded(Held held, Tensor w) {
    Tensor values = scope.allocate(DType.F32, w.shape());
    switch (held) {
      case F32 -> values.copyFrom(w);
      case BF16 -> {
        Tensor half = scope.allocate(DType.BF16, w.shape());
        engine.kernels().toBfloat16(half, w);
        engine.kernels().fromBfloat16(values, half);
      }
      default -> engine.kernels().dequantize(values, quantized(w));
    }
    return values;
  }

  /** Magnitudes over eight decades, so that codes of every exponent occur, and zeros. */
  private Tensor weights(int outputs, int inputs) {
    Tensor w = scope.allocate(DType.F32, outputs, inputs);
    for (int i = 0; i < w.size(); i++) {
      double magnitude = Math.pow(10, random.nextInt(9) - 7);
      w.set(i, i % 17 == 3 ? 0 : magnitude * random.nextGaussian());
    }
    return w;
  }

  private Tensor gaussian(int... shape) {
    Tensor tensor = scope.allocate(DType.F32, shape);
    for (int i = 0; i < tensor.size(); i++) {
      tensor.set(i, random.nextGaussian());
    }
    return tensor;
  }
}
