package io.sparkmoe.kernel;

import static org.bytedeco.openblas.global.openblas.CblasNoTrans;
import static org.bytedeco.openblas.global.openblas.CblasRowMajor;
import static org.bytedeco.openblas.global.openblas.CblasTrans;

import org.bytedeco.openblas.global.openblas;

/** OpenBLAS, one thread a call: its own pool would compete with ours. */
final class OpenBlasGemm extends WideningGemm {

  private final ThreadLocal<Operands> operands = ThreadLocal.withInitial(Operands::new);

  OpenBlasGemm() {
    openblas.blas_set_num_threads(1);
  }

  /** A thread's three movable pointers. */
  private record Operands(NativeFloats a, NativeFloats b, NativeFloats c) {
    Operands() {
      this(new NativeFloats(), new NativeFloats(), new NativeFloats());
    }
  }

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
    Operands own = operands.get();
    openblas.cblas_sgemm(
        CblasRowMajor,
        transposeA ? CblasTrans : CblasNoTrans,
        transposeB ? CblasTrans : CblasNoTrans,
        m,
        n,
        k,
        1,
        own.a.moveTo(a),
        Math.max(1, lda),
        own.b.moveTo(b),
        Math.max(1, ldb),
        accumulate ? 1 : 0,
        own.c.moveTo(c),
        ldc);
  }

  @Override
  public String name() {
    return "openblas";
  }

  @Override
  public void close() {}
}
