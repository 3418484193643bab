package io.sparkmoe.layer;

import io.sparkmoe.kernel.Fp8Tensor;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * Gated networks, one for each group of rows: {@code output = down(weight * silu(gate x) * up x)}.
 * A row's weight is applied before the down projection, so that the output need not be kept for the
 * weight's gradient. Of the inner values only the products before the activation are kept, in FP8;
 * the backward computes the activation again from them [1, section 3.3.3].
 *
 * <p>Legend: R rows, e networks, D model width, F inner width. All operands are BF16.
 *
 * <p>[1] DeepSeek-V3 technical report.
 */
final class Fp8GatedNetwork {

  private final Fp8Quantizer quantizer;
  private final Kernels kernels;
  private final Fp8Weight gateUp;
  private final Fp8Weight down;

  /**
   * @param gateUp gate_proj and up_proj of each network one after the other, (e, 2F, D)
   * @param down down_proj of each network, (e, D, F)
   */
  Fp8GatedNetwork(Fp8Quantizer quantizer, Fp8Weight gateUp, Fp8Weight down) {
    this.quantizer = quantizer;
    this.kernels = quantizer.kernels();
    this.gateUp = gateUp;
    this.down = down;
  }

  private int innerWidth() {
    return down.dim(2);
  }

  /**
   * Runs the networks.
   *
   * @param output (R, D), written, or added to with {@code add}
   * @param input operand (R, D)
   * @param rowStarts rows of network i are [rowStarts[i], rowStarts[i+1])
   * @param rowWeights (R), null = one
   * @param saved owns the result
   * @return products before the activation, (2R, F): a row's gate, then its up
   */
  Fp8Tensor forward(
      Tensor output, boolean add, Tensor input, int[] rowStarts, Tensor rowWeights, Scope saved) {
    int rows = input.rows();
    int f = innerWidth();
    Fp8Tensor kept = quantizer.allocate(Fp8TensorKind.GATE_UP, saved, 2 * rows, f);
    try (Scope scratch = saved.inner()) {
      Tensor operand = scratch.allocate(DType.BF16, rows, f);
      try (Scope inner = scratch.inner()) {
        Tensor product = inner.allocate(DType.F32, rows, 2 * f);
        kernels.groupedMatmul(product, input, gateUp.operand(), true, rowStarts, false);
        if (quantizer.fusesGated()) {
          kernels.gatedFp8(operand, kept, product, rowWeights);
        } else {
          activate(operand, kept, product, rowStarts, rowWeights, inner);
        }
      }
      kernels.groupedMatmul(output, operand, down.operand(), true, rowStarts, add);
    }
    return kept;
  }

  /** {@link Kernels#gatedFp8} of any recipe, and counted. */
  private void activate(
      Tensor operand,
      Fp8Tensor kept,
      Tensor product,
      int[] rowStarts,
      Tensor rowWeights,
      Scope scratch) {
    int rows = operand.rows();
    int f = operand.cols();
    quantizer.quantize(
        Fp8TensorKind.GATE_UP, null, kept, product.reshape(2 * rows, f), twice(rowStarts));
    Tensor hidden = scratch.allocate(DType.F32, rows, f);
    kernels.weightedSwiGlu(hidden, product, rowWeights);
    quantizer.quantize(Fp8TensorKind.HIDDEN, operand, null, hidden, rowStarts);
  }

  /**
   * Backward of {@link #forward}: adds to the weight gradients.
   *
   * @param dInput (R, D), written, or added to with {@code add}
   * @param dRowWeights (R) written, null without row weights
   * @param dOutput operand (R, D), rounded along the columns
   * @param dOutputTransposed operand (R, D), rounded along the rows
   * @param inputTransposed operand (R, D), rounded along the rows
   * @param kept what the forward returned
   */
  void backward(
      Tensor dInput,
      boolean add,
      Tensor dRowWeights,
      Tensor dOutput,
      Tensor dOutputTransposed,
      Tensor inputTransposed,
      Fp8Tensor kept,
      int[] rowStarts,
      Tensor rowWeights,
      Scope scope) {
    int rows = dOutput.rows();
    int f = innerWidth();
    try (Scope scratch = scope.inner()) {
      Tensor dGateUp = scratch.allocate(DType.BF16, rows, 2 * f);
      Tensor dGateUpTransposed = scratch.allocate(DType.BF16, rows, 2 * f);
      try (Scope inner = scratch.inner()) {
        // forward: output = hidden down^T
        Tensor dHidden = inner.allocate(DType.F32, rows, f);
        kernels.groupedMatmul(dHidden, dOutput, down.operand(), false, rowStarts, false);
        Tensor hiddenTransposed = inner.allocate(DType.BF16, rows, f);
        if (quantizer.fusesGated()) {
          kernels.gatedFp8Backward(
              dGateUp,
              dGateUpTransposed,
              hiddenTransposed,
              dRowWeights,
              dHidden,
              kept,
              rowWeights,
              rowStarts);
        } else {
          differentiate(
              dGateUp,
              dGateUpTransposed,
              hiddenTransposed,
              dRowWeights,
              dHidden,
              kept,
              rowWeights,
              rowStarts,
              inner);
        }
        kernels.groupedWeightGradient(
            down.gradient(), dOutputTransposed, hiddenTransposed, rowStarts);
      }
      // forward: product = input gateUp^T
      kernels.groupedMatmul(dInput, dGateUp, gateUp.operand(), false, rowStarts, add);
      kernels.groupedWeightGradient(
          gateUp.gradient(), dGateUpTransposed, inputTransposed, rowStarts);
    }
  }

  /** {@link Kernels#gatedFp8Backward} of any recipe, and counted; dHidden is overwritten. */
  private void differentiate(
      Tensor dGateUp,
      Tensor dGateUpTransposed,
      Tensor hiddenTransposed,
      Tensor dRowWeights,
      Tensor dHidden,
      Fp8Tensor kept,
      Tensor rowWeights,
      int[] rowStarts,
      Scope scratch) {
    int rows = dHidden.rows();
    int f = dHidden.cols();
    Tensor both = scratch.allocate(DType.F32, rows, 2 * f);
    Tensor halves = both.reshape(2 * rows, f);
    kernels.dequantize(halves, kept);
    kernels.weightedSwiGluBackward(both, dRowWeights, dHidden, dHidden, both, rowWeights);
    quantizer.quantize(
        Fp8TensorKind.GRADIENT, dGateUp.reshape(2 * rows, f), null, halves, twice(rowStarts));
    quantizer.quantize(Fp8TensorKind.GRADIENT_TRANSPOSED, dGateUpTransposed, null, both, rowStarts);
    quantizer.quantize(Fp8TensorKind.INPUT_TRANSPOSED, hiddenTransposed, null, dHidden, rowStarts);
  }

  /** Gate and up of a row are two rows of F, so that no tile holds values of both. */
  private static int[] twice(int[] rowStarts) {
    int[] doubled = new int[rowStarts.length];
    for (int i = 0; i < doubled.length; i++) {
      doubled[i] = 2 * rowStarts[i];
    }
    return doubled;
  }
}
