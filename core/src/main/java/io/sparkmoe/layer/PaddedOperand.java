package io.sparkmoe.layer;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * An operand followed by rows of zeros, so that a product of it is one call of the matrix library
 * ({@link Kernels#operandRows}). Zeros add nothing to a weight gradient, and rows of other results
 * that come of them are not read.
 *
 * <p>Legend: R rows, P rows with those of zeros, N columns.
 *
 * @param all (P, N), what products read
 * @param rows (R, N), what is written
 */
record PaddedOperand(Tensor all, Tensor rows) {

  /** Unwritten but for the zeros. */
  static PaddedOperand allocate(Kernels kernels, int rows, int cols, Scope scope) {
    return allocate(kernels, rows, kernels.operandRows(rows), cols, scope);
  }

  /** As {@link #allocate(Kernels, int, int, Scope)}, with a given P. */
  static PaddedOperand allocate(Kernels kernels, int rows, int padded, int cols, Scope scope) {
    Tensor all = scope.allocate(kernels.operandType(), padded, cols);
    if (padded == rows) {
      return new PaddedOperand(all, all);
    }
    all.view(rows * cols, padded - rows, cols).zero();
    return new PaddedOperand(all, all.view(0, rows, cols));
  }
}
