package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import java.nio.ByteBuffer;

/**
 * A library that multiplies F32 only: BF16 inputs are widened to F32 in a thread's scratch, which
 * changes no value, and multiplied there.
 */
abstract class WideningGemm implements Gemm {

  private final ThreadLocal<Scratch> wideA = ThreadLocal.withInitial(Scratch::new);
  private final ThreadLocal<Scratch> wideB = ThreadLocal.withInitial(Scratch::new);

  @Override
  public DType operandType() {
    return DType.F32;
  }

  @Override
  public int bfloat16Unit() {
    return 1;
  }

  @Override
  public void multiplyBfloat16(
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
    int aColumns = transposeA ? m : k;
    int bColumns = transposeB ? k : n;
    multiply(
        transposeA,
        transposeB,
        m,
        n,
        k,
        widen(wideA.get(), transposeA ? k : m, aColumns, a, lda),
        aColumns,
        widen(wideB.get(), transposeB ? n : k, bColumns, b, ldb),
        bColumns,
        c,
        ldc,
        accumulate);
  }

  /** Address of the same matrix in F32, without gaps between its rows. */
  private static long widen(Scratch scratch, int rows, int columns, long matrix, int lead) {
    if (rows == 0 || columns == 0) {
      return matrix;
    }
    ByteBuffer wide = scratch.floats(rows * columns);
    ByteBuffer narrow = NativeFloats.bytesAt(matrix, ((rows - 1) * lead + columns) * Short.BYTES);
    for (int row = 0; row < rows; row++) {
      VectorBfloat16.widen(wide, row * columns, narrow, row * lead, columns);
    }
    return scratch.address();
  }
}
