package io.sparkmoe.layer;

import io.sparkmoe.kernel.Fp8Tensor;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * An input rounded to FP8 once for all layers that read it.
 *
 * <p>Legend: T tokens, I width.
 *
 * @param kept for the backward, (T, I)
 * @param operand (T, I), during the forward
 */
record Fp8Input(Fp8Quantizer quantizer, Fp8Tensor kept, Tensor operand) implements ProjectionInput {

  /**
   * @param operand (T, I), rounded along the tokens
   */
  record Transposed(Tensor operand) implements ForGradient {

    static Tensor of(ForGradient input) {
      return ((Transposed) input).operand;
    }
  }

  static Fp8Input of(ProjectionInput input) {
    return (Fp8Input) input;
  }

  @Override
  public ForGradient forGradient(Scope scratch) {
    return new Transposed(quantizer.operand(Fp8TensorKind.INPUT_TRANSPOSED, kept, null, scratch));
  }

  @Override
  public ProjectionInput again(Scope scratch) {
    Tensor values = scratch.allocate(quantizer.kernels().operandType(), kept.codes().shape());
    quantizer.kernels().dequantize(values, kept);
    return new Fp8Input(quantizer, kept, values);
  }
}
