package io.sparkmoe.layer;

import io.sparkmoe.kernel.Fp8Tensor;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * {@link Experts} whose products read FP8 values. A token is rounded once, however many experts
 * read it, and so is the gradient of its sum of outputs: routing weights are applied inside the
 * experts, where they cost no further rounding.
 *
 * <p>Legend: A tokens that arrived, R rows, D model width, F expert width.
 */
final class Fp8Experts implements Experts {

  private final Fp8Quantizer quantizer;
  private final Kernels kernels;
  private final Fp8GatedNetwork network;

  /**
   * @param tokens (A, D)
   * @param gateUp products before the activation, (2R, F)
   */
  private record Kept(ExpertRows rows, Fp8Tensor tokens, Fp8Tensor gateUp) implements Saved {}

  Fp8Experts(Fp8Quantizer quantizer, Fp8GatedNetwork network) {
    this.quantizer = quantizer;
    this.kernels = quantizer.kernels();
    this.network = network;
  }

  @Override
  public Saved forward(Tensor outputs, ProjectionInput arrived, ExpertRows rows, Scope scope) {
    Fp8Input tokens = Fp8Input.of(arrived);
    Fp8Tensor gateUp = network.allocateKept(rows.count(), scope);
    try (Scope scratch = scope.inner()) {
      Tensor output = scratch.allocate(DType.F32, rows.count(), outputs.cols());
      quantizer.forEachGroup(
          rows.starts(),
          e -> {
            ExpertRows own = rows.of(e);
            try (Scope inner = scope.inner()) {
              network.forward(
                  e,
                  rows.of(output, e),
                  false,
                  gateUpOf(gateUp, rows, e),
                  own.gatherOperand(kernels, tokens.operand(), inner).all(),
                  own.weight(),
                  inner);
            }
          });
      kernels.scatterAddRows(outputs, output, rows.token());
    }
    return new Kept(rows, tokens.kept(), gateUp);
  }

  private static Fp8Tensor gateUpOf(Fp8Tensor gateUp, ExpertRows rows, int e) {
    int first = rows.starts()[e];
    return gateUp.rows(2 * first, 2 * (rows.starts()[e + 1] - first));
  }

  @Override
  public void backward(
      Tensor dTokens, Tensor dRowWeights, Tensor dOutputs, Saved saved, Scope scope) {
    Kept kept = (Kept) saved;
    ExpertRows rows = kept.rows;
    try (Scope scratch = scope.inner()) {
      Tensor gradient = quantizer.operand(Fp8TensorKind.GRADIENT, dOutputs, null, scratch);
      Tensor tokens = scratch.allocate(kernels.operandType(), kept.tokens.codes().shape());
      kernels.dequantize(tokens, kept.tokens);
      Tensor dInput = scratch.allocate(DType.F32, rows.count(), dTokens.cols());
      quantizer.forEachGroup(
          rows.starts(),
          e -> {
            try (Scope inner = scope.inner()) {
              backward(
                  e, rows.of(dInput, e), rows.of(dRowWeights, e), gradient, tokens, kept, inner);
            }
          });
      network.clearStaleGradients();
      kernels.scatterAddRows(dTokens, dInput, rows.token());
    }
  }

  /** One expert's rows. */
  private void backward(
      int e,
      Tensor dInput,
      Tensor dRowWeights,
      Tensor gradient,
      Tensor tokens,
      Kept kept,
      Scope scratch) {
    ExpertRows own = kept.rows.of(e);
    PaddedOperand dOutput = own.gatherOperand(kernels, gradient, scratch);
    Tensor input = own.gather(kernels, tokens, scratch);
    network.backward(
        e,
        dInput,
        false,
        dRowWeights,
        dOutput.all(),
        quantizer.paddedOperand(Fp8TensorKind.GRADIENT_TRANSPOSED, dOutput.rows(), scratch),
        quantizer.paddedOperand(Fp8TensorKind.INPUT_TRANSPOSED, input, scratch),
        gateUpOf(kept.gateUp, kept.rows, e),
        own.weight(),
        scratch);
  }
}
