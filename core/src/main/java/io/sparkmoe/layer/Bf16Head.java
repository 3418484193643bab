package io.sparkmoe.layer;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * The language-model head beside FP8 layers: its three products read BF16 values and sum in FP32,
 * the "original precision" of [1, section 3.3.1].
 *
 * <p>Legend: T tokens, I input width, C vocabulary.
 *
 * <p>[1] DeepSeek-V3 technical report.
 */
final class Bf16Head implements Projection {

  private final Kernels kernels;
  private final Weight weight;
  private final Tensor operand;
  private boolean current;

  /**
   * @param weight (C, I)
   * @param allocator owns the weight's BF16 values
   */
  Bf16Head(Kernels kernels, Weight weight, Allocator allocator) {
    this.kernels = kernels;
    this.weight = weight;
    this.operand = allocator.allocate(kernels.operandType(), weight.value().shape());
  }

  /**
   * @param x operand of BF16 values (T, I)
   */
  record Input(Tensor x) implements ProjectionInput, ProjectionInput.ForGradient {

    @Override
    public ForGradient forGradient(Scope scratch) {
      return this;
    }

    @Override
    public ProjectionInput again(Scope scratch) {
      return this;
    }
  }

  @Override
  public int inputWidth() {
    return weight.value().dim(1);
  }

  @Override
  public int outputWidth() {
    return weight.value().dim(0);
  }

  /** The weight has new values. */
  void changed() {
    current = false;
  }

  private Tensor operand() {
    if (!current) {
      kernels.toBfloat16(operand, weight.value());
      current = true;
    }
    return operand;
  }

  @Override
  public void forward(Tensor y, ProjectionInput x) {
    kernels.matmul(y, ((Input) x).x, false, operand(), true, false);
  }

  @Override
  public void forwardAdd(Tensor y, ProjectionInput x) {
    kernels.matmul(y, ((Input) x).x, false, operand(), true, true);
  }

  @Override
  public void backward(Tensor dx, Tensor dy, ProjectionInput.ForGradient x, Scope scratch) {
    backward(dx, false, dy, x);
  }

  @Override
  public void backwardAdd(Tensor dx, Tensor dy, ProjectionInput.ForGradient x, Scope scratch) {
    backward(dx, true, dy, x);
  }

  /** Forward: y = x w^T; so dx = dy w and dw += dy^T x, with dy of {@link Layers#headGradient}. */
  private void backward(Tensor dx, boolean add, Tensor dy, ProjectionInput.ForGradient x) {
    kernels.matmul(dx, dy, false, operand(), false, add);
    kernels.matmul(weight.gradient(), dy, true, ((Input) x).x, false, true);
  }
}
