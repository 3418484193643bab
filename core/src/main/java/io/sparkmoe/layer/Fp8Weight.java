package io.sparkmoe.layer;

import io.sparkmoe.kernel.Weight;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.Tensor;

/**
 * A weight and its operand: the FP8 values as products read them, rounded again only after the
 * weight has changed, however many micro-batches there are.
 */
final class Fp8Weight {

  private final Fp8Quantizer quantizer;
  private final Weight weight;
  private final int[] matrices;
  private final Tensor operand;
  private boolean current;

  /**
   * @param matrices shape in which the weight is rounded, (.., O, I): blocks begin anew at every
   *     matrix
   * @param allocator owns the operand
   */
  Fp8Weight(Fp8Quantizer quantizer, Weight weight, int[] matrices, Allocator allocator) {
    this.quantizer = quantizer;
    this.weight = weight;
    this.matrices = matrices.clone();
    this.operand = allocator.allocate(quantizer.kernels().operandType(), weight.value().shape());
  }

  /** In the weight's shape. */
  Tensor operand() {
    if (!current) {
      quantizer.quantize(
          Fp8TensorKind.WEIGHT,
          operand.reshape(matrices),
          null,
          weight.value().reshape(matrices),
          null);
      current = true;
    }
    return operand;
  }

  /** One of the matrices of (E, O, I), as (1, O, I). */
  Tensor operand(int e) {
    return ExpertRows.matrix(operand(), e);
  }

  /** F32 of one of the matrices, added to. */
  Tensor gradient(int e) {
    return ExpertRows.matrix(gradient(), e);
  }

  /** F32, added to. */
  Tensor gradient() {
    return weight.gradient();
  }

  /** Size of the weight in one dimension. */
  int dim(int axis) {
    return weight.value().dim(axis);
  }

  /** The weight has new values. */
  void changed() {
    current = false;
  }
}
