package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Contract of {@link Gemm}, for every backend. */
class GemmTest {

  private static final long SEED = Long.getLong("moe.seed", 20251);

  /** Half a unit in the last place of a float, per term of a sum. */
  private static final double ROUNDING = 0x1p-24;

  /** Odd ones, and those around the cuts of the oneDNN backend. */
  private static final int[][] SHAPES = {
    {1, 1, 1},
    {1, 64, 7},
    {64, 1, 13},
    {64, 7, 1},
    {1, 33, 64},
    {64, 2, 2},
    {3, 7, 1},
    {13, 31, 64},
    {31, 33, 32},
    {32, 17, 33},
    {37, 48, 207},
    {64, 64, 64},
    {257, 20, 45},
    {300, 16, 31},
    {40, 24, 530}
  };

  @ParameterizedTest
  @ValueSource(strings = {"onednn", "openblas", "reference"})
  void multipliesAnyShapeWithAnyStrides(String name) {
    multipliesAnyShapeWithAnyStrides(name, DType.F32);
  }

  // Law: BF16 inputs give what FP32 arithmetic gives on their values, up to the order of the sum.
  @ParameterizedTest
  @ValueSource(strings = {"onednn", "onednn-f32", "openblas", "reference"})
  void multipliesBfloat16AsItsValuesInFloats(String name) {
    multipliesAnyShapeWithAnyStrides(name, DType.BF16);
  }

  private static void multipliesAnyShapeWithAnyStrides(String name, DType inputs) {
    Random random = new Random(SEED);
    try (Gemm gemm = GemmBackends.open(name).gemm();
        Arena arena = new Arena("test", 1 << 28)) {
      assertThat(gemm.name()).isEqualTo(name);
      for (int[] shape : SHAPES) {
        for (int option = 0; option < 16; option++) {
          boolean wide = (option & 8) != 0;
          check(
              gemm,
              inputs,
              arena,
              random,
              shape,
              (option & 1) != 0,
              (option & 2) != 0,
              (option & 4) != 0,
              wide ? 5 : 0);
        }
      }
    }
  }

  /**
   * {@code gap} elements between the end of a row and the next; those of c must stay as they are.
   */
  private static void check(
      Gemm gemm,
      DType inputs,
      Arena arena,
      Random random,
      int[] shape,
      boolean transposeA,
      boolean transposeB,
      boolean accumulate,
      int gap) {
    int m = shape[0];
    int n = shape[1];
    int k = shape[2];
    int lda = (transposeA ? m : k) + gap;
    int ldb = (transposeB ? k : n) + gap;
    int ldc = n + gap;
    try (Scope scope = arena.scope()) {
      Tensor a = random(inputs, scope, random, transposeA ? k : m, lda);
      Tensor b = random(inputs, scope, random, transposeB ? n : k, ldb);
      Tensor c = random(DType.F32, scope, random, m, ldc);
      Tensor before = scope.allocate(DType.F32, m, ldc);
      before.copyFrom(c);
      multiply(gemm, transposeA, transposeB, m, n, k, a, lda, b, ldb, c, ldc, accumulate);
      Tensor once = scope.allocate(DType.F32, m, ldc);
      once.copyFrom(c);
      for (int i = 0; i < m; i++) {
        for (int j = 0; j < ldc; j++) {
          double expected = j < n && !accumulate ? 0 : before.get(i * ldc + j);
          double terms = Math.abs(expected);
          for (int p = 0; j < n && p < k; p++) {
            double term =
                a.get(transposeA ? p * lda + i : i * lda + p)
                    * b.get(transposeB ? j * ldb + p : p * ldb + j);
            expected += term;
            terms += Math.abs(term);
          }
          if (!(Math.abs(c.get(i * ldc + j) - expected) <= ROUNDING * (k + 1) * terms)) {
            throw new AssertionError(
                String.format(
                    "%s of %s %dx%dx%d %s %s %s gap %d [%d, %d], seed %d: expected %s, got %s",
                    gemm.name(),
                    inputs,
                    m,
                    n,
                    k,
                    transposeA,
                    transposeB,
                    accumulate,
                    gap,
                    i,
                    j,
                    SEED,
                    expected,
                    c.get(i * ldc + j)));
          }
        }
      }
      c.copyFrom(before);
      multiply(gemm, transposeA, transposeB, m, n, k, a, lda, b, ldb, c, ldc, accumulate);
      assertThat(c.bytes()).as("same bits for same values").isEqualTo(once.bytes());
    }
  }

  private static void multiply(
      Gemm gemm,
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      Tensor a,
      int lda,
      Tensor b,
      int ldb,
      Tensor c,
      int ldc,
      boolean accumulate) {
    long aAt = a.address();
    long bAt = b.address();
    long cAt = c.address();
    if (a.type() == DType.BF16) {
      gemm.multiplyBfloat16(
          transposeA, transposeB, m, n, k, aAt, lda, bAt, ldb, cAt, ldc, accumulate);
    } else {
      gemm.multiply(transposeA, transposeB, m, n, k, aAt, lda, bAt, ldb, cAt, ldc, accumulate);
    }
  }

  private static Tensor random(DType type, Scope scope, Random random, int rows, int columns) {
    Tensor tensor = scope.allocate(type, rows, columns);
    for (int i = 0; i < tensor.size(); i++) {
      tensor.set(i, random.nextGaussian());
    }
    return tensor;
  }

  @ParameterizedTest
  @ValueSource(strings = {"onednn", "openblas", "reference"})
  void emptyInnerSizeClearsOrKeeps(String name) {
    try (Gemm gemm = GemmBackends.open(name).gemm();
        Arena arena = new Arena("test", 1 << 20);
        Tensor c = arena.zeros(DType.F32, 2, 3)) {
      c.copyFrom(1, 2, 3, 4, 5, 6);
      gemm.multiply(false, true, 2, 3, 0, c.address(), 0, c.address(), 0, c.address(), 3, true);
      assertThat(c.toFloatArray()).containsExactly(1, 2, 3, 4, 5, 6);
      gemm.multiply(true, false, 0, 3, 4, c.address(), 0, c.address(), 3, c.address(), 3, false);
      assertThat(c.toFloatArray()).containsExactly(1, 2, 3, 4, 5, 6);
      gemm.multiply(false, true, 2, 3, 0, c.address(), 0, c.address(), 0, c.address(), 3, false);
      assertThat(c.toFloatArray()).containsOnly(0);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"onednn", "openblas"})
  void manyThreadsGetTheSameBits(String name) {
    try (Gemm gemm = GemmBackends.open(name).gemm();
        Arena arena = new Arena("test", 1 << 24);
        Scope scope = arena.scope();
        Parallel parallel = new ThreadPoolParallel("test", 3)) {
      Tensor a = random(DType.F32, scope, new Random(SEED), 70, 40);
      Tensor b = random(DType.F32, scope, new Random(SEED + 1), 50, 40);
      Tensor results = scope.allocate(DType.F32, 24, 70 * 50);
      parallel.forEach(
          24,
          piece ->
              gemm.multiply(
                  false,
                  true,
                  70,
                  50,
                  40,
                  a.address(),
                  40,
                  b.address(),
                  40,
                  Lanes.address(results, piece * 3500),
                  50,
                  false));
      for (int piece = 1; piece < 24; piece++) {
        assertThat(results.view(piece * 3500, 3500).bytes())
            .isEqualTo(results.view(0, 3500).bytes());
      }
    }
  }
}
