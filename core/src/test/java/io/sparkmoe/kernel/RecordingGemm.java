package io.sparkmoe.kernel;

import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** OpenBLAS, and all that makes two products of F32 inputs one primitive of oneDNN. */
final class RecordingGemm extends WideningGemm {

  /** Transpositions, sizes, leads and whether it accumulates. */
  final Set<List<Object>> shapes = new HashSet<>();

  private final Gemm openBlas = GemmBackends.open("openblas").gemm();

  @Override
  public void multiply(
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      long a,
      int lda,
      long b,
      int ldb,
      long c,
      int ldc,
      boolean accumulate) {
    shapes.add(List.of(transposeA, transposeB, m, n, k, lda, ldb, ldc, accumulate));
    openBlas.multiply(transposeA, transposeB, m, n, k, a, lda, b, ldb, c, ldc, accumulate);
  }

  @Override
  public String name() {
    return openBlas.name();
  }

  @Override
  public void close() {
    openBlas.close();
  }
}
