package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;

/**
 * A linear layer without bias: {@code y = x w^T}.
 *
 * <p>Legend: T tokens, I input width, O output width.
 *
 * @param kernels what computes
 * @param weight (O, I)
 */
public record Linear(Kernels kernels, Weight weight) {

  /** I. */
  public int inputWidth() {
    return weight.value().dim(1);
  }

  /** O. */
  public int outputWidth() {
    return weight.value().dim(0);
  }

  /** {@code y = x w^T}: y (T, O) written, x (T, I). The backward needs x. */
  public void forward(Tensor y, Tensor x) {
    kernels.matmul(y, x, false, weight.value(), true, false);
  }

  /** {@code y += x w^T}; otherwise as {@link #forward}. */
  public void forwardAdd(Tensor y, Tensor x) {
    kernels.matmul(y, x, false, weight.value(), true, true);
  }

  /** Forward: y = x w^T; so dx = dy w (written) and dw += dy^T x. */
  public void backward(Tensor dx, Tensor dy, Tensor x) {
    inputGradient(dx, dy);
    addWeightGradient(dy, x);
  }

  /** Forward: y = x w^T; so dx += dy w and dw += dy^T x. */
  public void backwardAdd(Tensor dx, Tensor dy, Tensor x) {
    kernels.matmul(dx, dy, false, weight.value(), false, true);
    addWeightGradient(dy, x);
  }

  /** Of {@link #backward}: dx = dy w (written). */
  public void inputGradient(Tensor dx, Tensor dy) {
    kernels.matmul(dx, dy, false, weight.value(), false, false);
  }

  /** Of {@link #backward}: dw += dy^T x. */
  public void addWeightGradient(Tensor dy, Tensor x) {
    kernels.matmul(weight.gradient(), dy, true, x, false, true);
  }
}
