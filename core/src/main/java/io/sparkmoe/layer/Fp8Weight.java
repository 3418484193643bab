package io.sparkmoe.layer;

import io.sparkmoe.kernel.Weight;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.Tensor;
import java.util.Arrays;

/**
 * A weight, one matrix or several, and its operand: the FP8 values as products read them. A matrix
 * is rounded when it is first asked for after the weight has changed, so that its values are still
 * in the cache for the product, and only then, however many micro-batches there are. Threads may
 * ask for different matrices at once.
 *
 * <p>Legend: E matrices, O output width, I input width.
 */
final class Fp8Weight {

  private final Fp8Quantizer quantizer;
  private final Weight weight;
  private final int parts;
  private final Tensor values;
  private final Tensor operands;
  private final boolean[] current;

  /**
   * @param weight (O, I) or (E, O, I)
   * @param parts what each matrix consists of, one below the other: blocks begin anew at every part
   * @param allocator owns the operand
   */
  Fp8Weight(Fp8Quantizer quantizer, Weight weight, int parts, Allocator allocator) {
    this.quantizer = quantizer;
    this.weight = weight;
    this.parts = parts;
    this.values = matrices(weight.value());
    this.operands = allocator.allocate(quantizer.kernels().operandType(), values.shape());
    this.current = new boolean[values.dim(0)];
  }

  /** As (E, O, I). */
  private static Tensor matrices(Tensor weight) {
    int[] shape = weight.shape();
    return shape.length == 3 ? weight : weight.reshape(1, shape[0], shape[1]);
  }

  /** Of a weight that is one matrix, in its shape. */
  Tensor operand() {
    return operand(0).reshape(weight.value().shape());
  }

  /** One of the matrices, as (1, O, I). */
  Tensor operand(int e) {
    Tensor own = ExpertRows.matrix(operands, e);
    if (!current[e]) {
      int[] blocks = {parts, own.dim(1) / parts, own.dim(2)};
      Tensor value = ExpertRows.matrix(values, e).reshape(blocks);
      quantizer.quantize(Fp8TensorKind.WEIGHT, own.reshape(blocks), null, value, null);
      current[e] = true;
    }
    return own;
  }

  /** F32 of one of the matrices of (E, O, I), added to. */
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
    Arrays.fill(current, false);
  }
}
