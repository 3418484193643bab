package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.kernel.KernelTwins.Fill;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Rows picked by index, column halves, cross-entropy. */
class RowKernelsTest {

  private static final int ROWS = 29;

  private static final int PICKED = 83;

  private final KernelTwins twins = new KernelTwins();

  @AfterEach
  void close() {
    twins.close();
  }

  @Test
  void gathersAndScatters() {
    for (int d : KernelTwins.SIZES) {
      Tensor table = twins.mixed(ROWS, d);
      Tensor picked = twins.mixed(PICKED, d);
      Tensor index = twins.indices(0, ROWS, PICKED);
      twins.agree(
          "gatherRows",
          0,
          (k, t) -> k.gatherRows(t[0], t[1], t[2]),
          twins.unwritten(PICKED, d),
          table,
          index);
      twins.agree(
          "scatterAddRows",
          ROWS,
          (k, t) -> k.scatterAddRows(t[0], t[1], t[2]),
          table,
          picked,
          index);
    }
  }

  @Test
  void picksWeightedRowsAndAddsToThem() {
    for (int d : KernelTwins.SIZES) {
      for (int k : new int[] {1, 3, 8, 11}) {
        Tensor table = twins.mixed(ROWS, d);
        Tensor tokens = twins.mixed(PICKED, d);
        Tensor index = twins.indices(0, ROWS, PICKED * k).reshape(PICKED, k);
        Tensor weight = twins.mixed(PICKED, k);
        twins.agree(
            "sumPickedRows",
            k,
            (kernels, t) -> kernels.sumPickedRows(t[0], t[1], t[2], t[3]),
            twins.unwritten(PICKED, d),
            table,
            index,
            weight);
        twins.agree(
            "addToPickedRows",
            PICKED * k,
            (kernels, t) -> kernels.addToPickedRows(t[0], t[1], t[2], t[3]),
            table,
            tokens,
            index,
            weight);
      }
    }
  }

  @Test
  void scatterAddsRepeatsInAscendingOrder() {
    // 1e8 + 1 rounds to 1e8 in float, so the order of the three terms decides the result: (1e8 + 1)
    // - 1e8 = 0.
    Tensor y = twins.filled(Fill.ZERO, 1, 16);
    Tensor x = twins.filled(Fill.ZERO, 3, 16);
    for (int j = 0; j < 16; j++) {
      x.setFloat(j, 1e8f);
      x.setFloat(16 + j, 1);
      x.setFloat(32 + j, -1e8f);
    }
    Tensor index = twins.indices(0, 1, 3);
    twins.agree("scatterAddRows", 1, (k, t) -> k.scatterAddRows(t[0], t[1], t[2]), y, x, index);
    try (Parallel parallel = new ThreadPoolParallel("test", 2)) {
      new VectorKernels(new ReferenceGemm(), parallel).scatterAddRows(y, x, index);
    }
    assertThat(y.toFloatArray()).containsOnly(0);
  }

  @Test
  void columnsJoinAndSplit() {
    for (int d : KernelTwins.SIZES) {
      Tensor a = twins.mixed(ROWS, d);
      Tensor b = twins.mixed(ROWS, 5);
      Tensor both = twins.mixed(ROWS, d + 5);
      twins.agree(
          "concatColumns",
          0,
          (k, t) -> k.concatColumns(t[0], t[1], t[2]),
          twins.unwritten(ROWS, d + 5),
          a,
          b);
      twins.agree("splitColumnsAdd", 1, (k, t) -> k.splitColumnsAdd(t[0], t[1], t[2]), a, b, both);
    }
  }

  @Test
  void crossEntropyAndItsGradient() {
    for (int c : KernelTwins.SIZES) {
      for (Fill fill : Fill.values()) {
        Tensor logits = twins.filled(fill, ROWS, c);
        Tensor targets = twins.indices(-1, c, ROWS);
        targets.setInt(0, -1);
        logits.setFloat(0, Float.NaN);
        twins.agree(
            "crossEntropy",
            c,
            (k, t) -> k.crossEntropy(t[0], t[1], t[2], 0.25),
            twins.unwritten(ROWS),
            logits,
            targets);
        twins.agree(
            "crossEntropy without gradient",
            c,
            (k, t) -> k.crossEntropy(t[0], t[1], t[2], 0),
            twins.unwritten(ROWS),
            logits,
            targets);
      }
    }
  }

  /** Law: the gradient in BF16 is the gradient, rounded once. */
  @ParameterizedTest
  @EnumSource(names = {"F32", "BF16"})
  void crossEntropyRoundsItsGradient(DType type) {
    try (Gemm gemm = new ReferenceGemm();
        Parallel parallel = new ThreadPoolParallel("test", 1)) {
      for (Kernels kernels : List.of(new ReferenceKernels(), new VectorKernels(gemm, parallel))) {
        for (int c : KernelTwins.SIZES) {
          for (Fill fill : Fill.values()) {
            Tensor logits = twins.filled(fill, ROWS, c);
            Tensor gradient = twins.unwritten(ROWS, c);
            gradient.copyFrom(logits);
            Tensor targets = twins.indices(-1, c, ROWS);
            targets.setInt(0, -1);
            Tensor losses = twins.unwritten(ROWS);
            kernels.crossEntropy(losses, gradient, targets, 0.25);
            Tensor expected = twins.unwritten(type, ROWS, c);
            kernels.toBfloat16(expected, gradient);
            Tensor rounded = twins.unwritten(type, ROWS, c);
            Tensor same = twins.unwritten(ROWS);
            kernels.crossEntropyBfloat16(same, rounded, logits, targets, 0.25);
            assertThat(same.toFloatArray()).isEqualTo(losses.toFloatArray());
            assertThat(rounded.toFloatArray()).isEqualTo(expected.toFloatArray());
          }
        }
      }
    }
  }

  @Test
  void crossEntropyOfEqualLogitsIsTheLogOfTheVocabulary() {
    Tensor losses = twins.unwritten(1);
    new ReferenceKernels()
        .crossEntropy(losses, twins.filled(Fill.LARGE, 1, 64), twins.indices(0, 64, 1), 0);
    assertThat(losses.getFloat(0)).isEqualTo((float) Math.log(64));
  }
}
