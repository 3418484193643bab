package io.sparkmoe.layer;

import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * A linear layer without bias, {@code y = x w^T}, in the number format of its {@link Layers}.
 *
 * <p>Legend: T tokens, I input width, O output width.
 */
public interface Projection {

  /** I. */
  int inputWidth();

  /** O. */
  int outputWidth();

  /** {@code y = x w^T}: y (T, O) written, x (T, I). */
  void forward(Tensor y, ProjectionInput x);

  /** {@code y += x w^T}; otherwise as {@link #forward}. */
  void forwardAdd(Tensor y, ProjectionInput x);

  /** Forward: y = x w^T; so dx = dy w (written) and dw += dy^T x. */
  void backward(Tensor dx, Tensor dy, ProjectionInput.ForGradient x, Scope scratch);

  /** Forward: y = x w^T; so dx += dy w and dw += dy^T x. */
  void backwardAdd(Tensor dx, Tensor dy, ProjectionInput.ForGradient x, Scope scratch);
}
