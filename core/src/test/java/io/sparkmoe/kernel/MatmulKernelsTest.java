package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.kernel.KernelTwins.Fill;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Products of one matrix and of a matrix per expert. E experts. */
class MatmulKernelsTest {

  private final KernelTwins twins = new KernelTwins();

  @AfterEach
  void close() {
    twins.close();
  }

  @Test
  void productsOfEveryTransposition() {
    int[][] sizes = {
      {1, 1, 1}, {3, 7, 13}, {13, 3, 64}, {64, 207, 7}, {207, 64, 33}, {300, 90, 70}, {31, 520, 40}
    };
    for (int[] size : sizes) {
      for (int option = 0; option < 8; option++) {
        boolean transposeA = (option & 1) != 0;
        boolean transposeB = (option & 2) != 0;
        boolean accumulate = (option & 4) != 0;
        int m = size[0];
        int n = size[1];
        int k = size[2];
        Tensor c = accumulate ? twins.mixed(m, n) : twins.unwritten(m, n);
        Tensor a = transposeA ? twins.mixed(k, m) : twins.mixed(m, k);
        Tensor b = transposeB ? twins.mixed(n, k) : twins.mixed(k, n);
        twins.agree(
            "matmul " + m + "x" + n + "x" + k + " option " + option,
            k,
            (kernels, t) -> kernels.matmul(t[0], t[1], transposeA, t[2], transposeB, accumulate),
            c,
            a,
            b);
      }
    }
  }

  @Test
  void productsThatAreCutIntoManyTiles() {
    twins.agree(
        "linear",
        96,
        (k, t) -> k.linear(t[0], t[1], t[2]),
        twins.unwritten(530, 600),
        twins.mixed(530, 96),
        twins.mixed(600, 96));
    twins.agree(
        "weight gradient",
        700,
        (k, t) -> k.matmul(t[0], t[1], true, t[2], false, true),
        twins.mixed(130, 70),
        twins.mixed(700, 130),
        twins.mixed(700, 70));
  }

  /** Weight gradients of many tokens are sums over slices of them. */
  @Test
  void productsThatAreCutIntoSlices() {
    for (int tokens : new int[] {1024, 2600, 5003}) {
      for (boolean accumulate : new boolean[] {false, true}) {
        twins.agree(
            "weight gradient of " + tokens + " tokens, accumulate " + accumulate,
            tokens,
            (k, t) -> k.matmul(t[0], t[1], true, t[2], false, accumulate),
            accumulate ? twins.mixed(300, 70) : twins.unwritten(300, 70),
            twins.mixed(tokens, 300),
            twins.mixed(tokens, 70));
      }
    }
  }

  /** Experts without a row, with one, with a few, with more than a block. */
  private static final int[] ROW_STARTS = {0, 0, 1, 8, 8, 45, 700, 1300, 1300};

  @Test
  void groupedProducts() {
    int rows = 1300;
    int e = ROW_STARTS.length - 1;
    Tensor a = twins.mixed(rows, 19);
    for (boolean accumulate : new boolean[] {false, true}) {
      twins.agree(
          "grouped x w^T",
          19,
          (k, t) -> k.groupedMatmul(t[0], t[1], t[2], true, ROW_STARTS, accumulate),
          accumulate ? twins.mixed(rows, 35) : twins.unwritten(rows, 35),
          a,
          twins.mixed(e, 35, 19));
      twins.agree(
          "grouped x w",
          19,
          (k, t) -> k.groupedMatmul(t[0], t[1], t[2], false, ROW_STARTS, accumulate),
          accumulate ? twins.mixed(rows, 35) : twins.unwritten(rows, 35),
          a,
          twins.mixed(e, 19, 35));
    }
  }

  // Experts without rows keep what they have, also where the others are written anew.
  @Test
  void groupedWeightGradients() {
    int rows = 1300;
    int e = ROW_STARTS.length - 1;
    for (boolean accumulate : new boolean[] {true, false}) {
      twins.agree(
          "grouped weight gradient, accumulate " + accumulate,
          700,
          (k, t) -> k.groupedWeightGradient(t[0], t[1], t[2], ROW_STARTS, accumulate),
          twins.mixed(e, 75, 19),
          twins.mixed(rows, 75),
          twins.mixed(rows, 19));
    }
  }

  // Law: a product of rounded operands is FP32 arithmetic on what their codes stand for.
  @Test
  void productsOfRoundedOperands() {
    int rows = 1300;
    int e = ROW_STARTS.length - 1;
    Tensor x = rounded(twins.mixed(rows, 70), Fp8Granularity.TILE_1X128, null);
    Tensor dy = rounded(twins.mixed(rows, 90), Fp8Granularity.TILE_128X1, ROW_STARTS);
    Tensor w = rounded(twins.mixed(e, 90, 70), Fp8Granularity.BLOCK_128X128, null);
    twins.agree(
        "x w^T",
        70,
        (k, t) -> k.linear(t[0], t[1], t[2]),
        twins.unwritten(rows, 90),
        x,
        w.view(90 * 70, 90, 70));
    twins.agree(
        "grouped x w^T",
        70,
        (k, t) -> k.groupedMatmul(t[0], t[1], t[2], true, ROW_STARTS, true),
        twins.mixed(rows, 90),
        x,
        w);
    twins.agree(
        "grouped weight gradient",
        700,
        (k, t) -> k.groupedWeightGradient(t[0], t[1], t[2], ROW_STARTS, true),
        twins.mixed(e, 90, 70),
        dy,
        x);
    assertThatThrownBy(() -> twins.both().get(1).linear(twins.mixed(3, 4), x, twins.mixed(4, 70)))
        .hasMessageContaining("multiply two F32 or two BF16 tensors into an F32 one");
  }

  private Tensor rounded(Tensor x, Fp8Granularity granularity, int[] rowStarts) {
    Tensor operand = twins.unwritten(DType.BF16, x.shape());
    Fp8Scaling scaling = new Fp8Scaling(Fp8Format.E4M3, granularity);
    new ReferenceKernels().quantize(operand, null, x, rowStarts, scaling, null);
    return operand;
  }

  @Test
  void rowsOutsideAllExpertsAreLeftAlone() {
    twins.agree(
        "grouped",
        4,
        (k, t) -> k.groupedMatmul(t[0], t[1], t[2], true, new int[] {2, 3, 5}, false),
        twins.filled(Fill.LARGE, 6, 3),
        twins.mixed(6, 4),
        twins.mixed(2, 3, 4));
  }

  @Test
  void rowStartsThatDescendAreRefused() {
    assertThatThrownBy(
            () ->
                new ReferenceKernels()
                    .groupedMatmul(
                        twins.mixed(6, 3),
                        twins.mixed(6, 4),
                        twins.mixed(2, 3, 4),
                        true,
                        new int[] {0, 7, 6},
                        false))
        .hasMessage("row starts must ascend within [0, 6], got 0 to 6");
  }
}
