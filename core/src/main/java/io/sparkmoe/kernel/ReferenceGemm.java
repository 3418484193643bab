package io.sparkmoe.kernel;

import java.nio.FloatBuffer;

/** Plain-loop product in double; needs no native library. */
final class ReferenceGemm extends WideningGemm {

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
    if (m == 0 || n == 0) {
      return;
    }
    FloatBuffer cValues = NativeFloats.at(c, (m - 1) * ldc + n);
    FloatBuffer aValues =
        k == 0 ? null : NativeFloats.at(a, transposeA ? (k - 1) * lda + m : (m - 1) * lda + k);
    FloatBuffer bValues =
        k == 0 ? null : NativeFloats.at(b, transposeB ? (n - 1) * ldb + k : (k - 1) * ldb + n);
    for (int i = 0; i < m; i++) {
      for (int j = 0; j < n; j++) {
        double sum = accumulate ? cValues.get(i * ldc + j) : 0;
        for (int p = 0; p < k; p++) {
          double x = aValues.get(transposeA ? p * lda + i : i * lda + p);
          sum += x * bValues.get(transposeB ? j * ldb + p : p * ldb + j);
        }
        cValues.put(i * ldc + j, (float) sum);
      }
    }
  }

  @Override
  public String name() {
    return "reference";
  }

  @Override
  public void close() {}
}
