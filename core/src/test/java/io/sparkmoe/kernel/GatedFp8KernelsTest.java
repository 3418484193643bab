package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Law: the fused kernels give the bits of the kernels that they are made of, one after the other. R
 * rows, F width.
 */
class GatedFp8KernelsTest {

  private static final int[] WIDTHS = {1, 7, 64, 129, 207};
  private static final int R = 150;

  /** Groups shorter and longer than a tile, and one without rows. */
  private static final int[] GROUPS = {0, 5, 5, 143, R};

  private static final Fp8Scaling ROWS = new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.TILE_1X128);
  private static final Fp8Scaling COLUMNS =
      new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.TILE_128X1);

  private final KernelTwins twins = new KernelTwins();
  private final Gemm gemm = new ReferenceGemm();
  private final Parallel parallel = new ThreadPoolParallel("test", 2);
  private final List<Kernels> both =
      List.of(new ReferenceKernels(), new VectorKernels(gemm, parallel));

  @AfterEach
  void close() {
    twins.close();
    parallel.close();
    gemm.close();
  }

  private Tensor operand(DType type, int... shape) {
    return twins.unwritten(type, shape);
  }

  private Fp8Tensor kept(int f) {
    return new Fp8Tensor(
        twins.unwritten(DType.F8_E4M3, 2 * R, f),
        twins.unwritten(DType.U8, 2 * R, Fp8Tensor.scalesPerRow(f)));
  }

  private static void assertSameBits(String what, Tensor actual, Tensor expected) {
    assertThat(actual.toFloatArray()).as(what).isEqualTo(expected.toFloatArray());
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void forwardIsActivationBetweenTwoRoundings(DType type) {
    for (Kernels kernels : both) {
      for (int f : WIDTHS) {
        Tensor gateUp = twins.mixed(R, 2 * f);
        Tensor weight = twins.mixed(R);
        for (Tensor weights : new Tensor[] {weight, null}) {
          Fp8Tensor kept = kept(f);
          Tensor hidden = operand(type, R, f);
          kernels.gatedFp8(hidden, kept, gateUp, weights);
          Fp8Tensor keptAlone = kept(f);
          kernels.quantize(null, keptAlone, gateUp.reshape(2 * R, f), null, ROWS, null);
          Tensor wide = twins.unwritten(R, f);
          kernels.swiGlu(wide, gateUp, weights);
          Tensor hiddenAlone = operand(type, R, f);
          kernels.quantize(hiddenAlone, null, wide, null, ROWS, null);
          assertSameBits("hidden, F=" + f, hidden, hiddenAlone);
          assertSameBits("codes, F=" + f, kept.codes(), keptAlone.codes());
          assertSameBits("scales, F=" + f, kept.scales(), keptAlone.scales());
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void backwardIsDerivativeBetweenRoundings(DType type) {
    for (Kernels kernels : both) {
      for (int f : WIDTHS) {
        Fp8Tensor kept = kept(f);
        kernels.quantize(null, kept, twins.mixed(2 * R, f), null, ROWS, null);
        Tensor weight = twins.mixed(R);
        Tensor dHidden = twins.mixed(R, f);
        Tensor dGateUp = operand(type, R, 2 * f);
        Tensor dTransposed = operand(type, R, 2 * f);
        Tensor hTransposed = operand(type, R, f);
        Tensor dWeight = twins.unwritten(R);
        kernels.gatedFp8Backward(
            dGateUp, dTransposed, hTransposed, dWeight, dHidden, kept, weight, GROUPS);

        Tensor wide = twins.unwritten(R, 2 * f);
        kernels.dequantize(wide.reshape(2 * R, f), kept);
        Tensor h = twins.unwritten(R, f);
        Tensor dWeightAlone = twins.unwritten(R);
        kernels.swiGluBackward(wide, dWeightAlone, h, dHidden, wide, weight);
        Tensor alone = operand(type, 2 * R, f);
        kernels.quantize(alone, null, wide.reshape(2 * R, f), null, ROWS, null);
        assertSameBits("dGateUp, F=" + f, dGateUp, alone);
        Tensor transposedAlone = operand(type, R, 2 * f);
        kernels.quantize(transposedAlone, null, wide, GROUPS, COLUMNS, null);
        assertSameBits("dGateUp transposed, F=" + f, dTransposed, transposedAlone);
        Tensor hAlone = operand(type, R, f);
        kernels.quantize(hAlone, null, h, GROUPS, COLUMNS, null);
        assertSameBits("hidden transposed, F=" + f, hTransposed, hAlone);
        for (int r = 0; r < R; r++) {
          float expected = dWeightAlone.getFloat(r);
          // A row of several tiles is summed tile by tile.
          assertThat(dWeight.getFloat(r)).isCloseTo(expected, within(1e-4f));
        }
      }
    }
  }
}
