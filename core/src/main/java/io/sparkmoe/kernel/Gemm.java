package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;

/**
 * A matrix library: one single-threaded product of row-major matrices given by address, of F32 or
 * BF16 inputs. Implementations are thread-safe and give the same bits for the same shapes and
 * values.
 */
public interface Gemm extends AutoCloseable {

  /**
   * {@code c = op(a) op(b)}, or {@code c += ...} with {@code accumulate}.
   *
   * @param transposeA a is stored (k, m)
   * @param transposeB b is stored (n, k)
   * @param m rows of c
   * @param n columns of c
   * @param k inner size; zero leaves c zero (or unchanged with accumulate)
   * @param a address of a
   * @param lda elements between rows of a as stored
   */
  void multiply(
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
      boolean accumulate);

  /**
   * As {@link #multiply} with a and b in BF16, c in F32 and sums in F32: the same values as after
   * widening a and b, up to the order of summation. Leads count elements.
   */
  void multiplyBfloat16(
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
      boolean accumulate);

  /**
   * Type that values of fewer bits are best given in: BF16 where such products are faster than F32
   * ones, F32 otherwise.
   */
  DType operandType();

  /**
   * Products of BF16 inputs are one call of the library where their tokens, rows of c or the inner
   * size when a is transposed, are a multiple of this.
   */
  int bfloat16Unit();

  /** Name as shown and stored: "onednn", "onednn-f32", "openblas" or "reference". */
  String name();

  @Override
  void close();
}
