package io.sparkmoe.layer;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/** {@link Projection} whose three products read FP8 values. T tokens, I input, O output width. */
final class Fp8Projection implements Projection {

  private final Fp8Quantizer quantizer;
  private final Kernels kernels;
  private final Fp8Weight weight;

  Fp8Projection(Fp8Quantizer quantizer, Fp8Weight weight) {
    this.quantizer = quantizer;
    this.kernels = quantizer.kernels();
    this.weight = weight;
  }

  @Override
  public int inputWidth() {
    return weight.dim(1);
  }

  @Override
  public int outputWidth() {
    return weight.dim(0);
  }

  @Override
  public void forward(Tensor y, ProjectionInput x) {
    kernels.matmul(y, Fp8Input.of(x).operand(), false, weight.operand(), true, false);
  }

  @Override
  public void forwardAdd(Tensor y, ProjectionInput x) {
    kernels.matmul(y, Fp8Input.of(x).operand(), false, weight.operand(), true, true);
  }

  @Override
  public void backward(Tensor dx, Tensor dy, ProjectionInput.ForGradient x, Scope scratch) {
    backward(dx, false, dy, x, scratch);
  }

  @Override
  public void backwardAdd(Tensor dx, Tensor dy, ProjectionInput.ForGradient x, Scope scratch) {
    backward(dx, true, dy, x, scratch);
  }

  /** Forward: y = x w^T; so dx = dy w and dw += dy^T x, with dy rounded along either sum. */
  private void backward(
      Tensor dx, boolean add, Tensor dy, ProjectionInput.ForGradient x, Scope scratch) {
    try (Scope inner = scratch.inner()) {
      Tensor gradient = quantizer.operand(Fp8TensorKind.GRADIENT, dy, null, inner);
      kernels.matmul(dx, gradient, false, weight.operand(), false, add);
    }
    try (Scope inner = scratch.inner()) {
      Tensor transposed = quantizer.operand(Fp8TensorKind.GRADIENT_TRANSPOSED, dy, null, inner);
      kernels.matmul(weight.gradient(), transposed, true, Fp8Input.Transposed.of(x), false, true);
    }
  }
}
