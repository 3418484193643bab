package io.sparkmoe.layer;

import io.sparkmoe.kernel.Fp8Tensor;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * Gated networks, such as a rank's experts: {@code output = down(weight * silu(gate x) * up x)}. A
 * row's weight is applied before the down projection, so that the output need not be kept for the
 * weight's gradient. Of the inner values only the products before the activation are kept, in FP8;
 * the backward computes the activation again from them [1, section 3.3.3].
 *
 * <p>Legend: R rows, P rows with those of zeros that may follow ({@link PaddedOperand}), e
 * networks, D model width, F inner width.
 *
 * <p>[1] DeepSeek-V3 technical report.
 */
final class Fp8GatedNetwork {

  private final Fp8Quantizer quantizer;
  private final Kernels kernels;
  private final Fp8Weight gateUp;
  private final Fp8Weight down;
  private final StaleGradients staleGradients;

  /**
   * @param gateUp gate_proj and up_proj of each network one after the other, (e, 2F, D)
   * @param down down_proj of each network, (e, D, F)
   */
  Fp8GatedNetwork(Fp8Quantizer quantizer, Fp8Weight gateUp, Fp8Weight down) {
    this.quantizer = quantizer;
    this.kernels = quantizer.kernels();
    this.gateUp = gateUp;
    this.down = down;
    this.staleGradients = new StaleGradients(down.dim(0));
  }

  /** The gradients of all networks were used up. */
  void gradientsAreStale() {
    staleGradients.all();
  }

  /** Sets the gradients of networks to zero that met no row since they were used up. */
  void clearStaleGradients() {
    staleGradients.clear(gateUp.gradient(), down.gradient());
  }

  /** Unwritten: what {@link #forward} keeps of R rows, (2R, F). */
  Fp8Tensor allocateKept(int rows, Scope saved) {
    return quantizer.allocate(Fp8TensorKind.GATE_UP, saved, 2 * rows, innerWidth());
  }

  private int innerWidth() {
    return down.dim(2);
  }

  /**
   * Runs network {@code e}.
   *
   * @param output (R, D), written, or added to with {@code add}
   * @param kept products before the activation, (2R, F) written: a row's gate, then its up
   * @param input operand (P, D)
   * @param rowWeights (R), null = one
   */
  void forward(
      int e,
      Tensor output,
      boolean add,
      Fp8Tensor kept,
      Tensor input,
      Tensor rowWeights,
      Scope scope) {
    int rows = output.rows();
    int padded = input.rows();
    int f = innerWidth();
    try (Scope scratch = scope.inner()) {
      Tensor operand = scratch.allocate(kernels.operandType(), rows, f);
      try (Scope inner = scratch.inner()) {
        Tensor products = inner.allocate(DType.F32, padded, 2 * f);
        multiply(products, input, gateUp.operand(e), true, false);
        Tensor product = products.view(0, rows, 2 * f);
        if (quantizer.fusesGated()) {
          kernels.gatedFp8(operand, kept, product, rowWeights);
        } else {
          activate(operand, kept, product, rowWeights, inner);
        }
      }
      multiply(output, operand, down.operand(e), true, add);
    }
  }

  /** {@link Kernels#groupedMatmul} of one network. */
  private void multiply(Tensor c, Tensor a, Tensor b, boolean transposeB, boolean accumulate) {
    kernels.groupedMatmul(c, a, b, transposeB, new int[] {0, c.rows()}, accumulate);
  }

  /** {@link Kernels#gatedFp8} of any recipe, and counted. */
  private void activate(
      Tensor operand, Fp8Tensor kept, Tensor product, Tensor rowWeights, Scope scratch) {
    int rows = operand.rows();
    int f = operand.cols();
    // Gate and up of a row are two rows of F, so that no tile holds values of both.
    quantizer.quantize(Fp8TensorKind.GATE_UP, null, kept, product.reshape(2 * rows, f), null);
    Tensor hidden = scratch.allocate(DType.F32, rows, f);
    kernels.swiGlu(hidden, product, rowWeights);
    quantizer.quantize(Fp8TensorKind.HIDDEN, operand, null, hidden, null);
  }

  /**
   * Backward of {@link #forward}: adds to the weight gradients of network {@code e}.
   *
   * @param dInput (R, D), written, or added to with {@code add}
   * @param dRowWeights (R) written, null without row weights
   * @param dOutput operand (P, D), rounded along the columns
   * @param dOutputTransposed operand (P, D), rounded along the rows
   * @param inputTransposed operand (P, D), rounded along the rows
   * @param kept what the forward kept
   */
  void backward(
      int e,
      Tensor dInput,
      boolean add,
      Tensor dRowWeights,
      Tensor dOutput,
      Tensor dOutputTransposed,
      Tensor inputTransposed,
      Fp8Tensor kept,
      Tensor rowWeights,
      Scope scope) {
    int rows = dInput.rows();
    int padded = dOutput.rows();
    int f = innerWidth();
    boolean accumulate = staleGradients.accumulate(e);
    try (Scope scratch = scope.inner()) {
      Tensor dGateUp = scratch.allocate(kernels.operandType(), rows, 2 * f);
      PaddedOperand dGateUpTransposed =
          PaddedOperand.allocate(kernels, rows, padded, 2 * f, scratch);
      try (Scope inner = scratch.inner()) {
        // forward: output = hidden down^T
        Tensor dHiddens = inner.allocate(DType.F32, padded, f);
        multiply(dHiddens, dOutput, down.operand(e), false, false);
        Tensor dHidden = dHiddens.view(0, rows, f);
        PaddedOperand hiddenTransposed = PaddedOperand.allocate(kernels, rows, padded, f, inner);
        if (quantizer.fusesGated()) {
          kernels.gatedFp8Backward(
              dGateUp,
              dGateUpTransposed.rows(),
              hiddenTransposed.rows(),
              dRowWeights,
              dHidden,
              kept,
              rowWeights,
              new int[] {0, rows});
        } else {
          differentiate(
              dGateUp,
              dGateUpTransposed.rows(),
              hiddenTransposed.rows(),
              dRowWeights,
              dHidden,
              kept,
              rowWeights,
              inner);
        }
        addGradient(down.gradient(e), dOutputTransposed, hiddenTransposed.all(), accumulate);
      }
      // forward: product = input gateUp^T
      multiply(dInput, dGateUp, gateUp.operand(e), false, add);
      addGradient(gateUp.gradient(e), dGateUpTransposed.all(), inputTransposed, accumulate);
    }
  }

  /** {@link Kernels#groupedWeightGradient} of one network. */
  private void addGradient(Tensor dw, Tensor dy, Tensor x, boolean accumulate) {
    kernels.groupedWeightGradient(dw, dy, x, new int[] {0, x.rows()}, accumulate);
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
      Scope scratch) {
    int rows = dHidden.rows();
    int f = dHidden.cols();
    Tensor both = scratch.allocate(DType.F32, rows, 2 * f);
    Tensor halves = both.reshape(2 * rows, f);
    kernels.dequantize(halves, kept);
    kernels.swiGluBackward(both, dRowWeights, dHidden, dHidden, both, rowWeights);
    quantizer.quantize(Fp8TensorKind.GRADIENT, dGateUp.reshape(2 * rows, f), null, halves, null);
    quantizer.quantize(Fp8TensorKind.GRADIENT_TRANSPOSED, dGateUpTransposed, null, both, null);
    quantizer.quantize(Fp8TensorKind.INPUT_TRANSPOSED, hiddenTransposed, null, dHidden, null);
  }
}
