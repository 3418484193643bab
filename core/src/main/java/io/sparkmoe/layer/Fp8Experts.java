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
    if (rows.count() == 0) {
      return new Kept(rows, tokens.kept(), null);
    }
    try (Scope scratch = scope.inner()) {
      Tensor output = scratch.allocate(DType.F32, rows.count(), outputs.cols());
      Fp8Tensor gateUp =
          network.forward(
              output,
              false,
              gather(tokens.operand(), rows, scratch),
              rows.starts(),
              rows.weight(),
              scope);
      kernels.scatterAddRows(outputs, output, rows.token());
      return new Kept(rows, tokens.kept(), gateUp);
    }
  }

  @Override
  public void backward(
      Tensor dTokens, Tensor dRowWeights, Tensor dOutputs, Saved saved, Scope scope) {
    Kept kept = (Kept) saved;
    ExpertRows rows = kept.rows;
    if (rows.count() == 0) {
      return;
    }
    try (Scope scratch = scope.inner()) {
      Tensor dOutput;
      Tensor input;
      try (Scope inner = scratch.inner()) {
        Tensor gradient = quantizer.operand(Fp8TensorKind.GRADIENT, dOutputs, null, inner);
        dOutput = gather(gradient, rows, scratch);
        Tensor tokens = inner.allocate(DType.BF16, kept.tokens.codes().shape());
        kernels.dequantize(tokens, kept.tokens);
        input = gather(tokens, rows, scratch);
      }
      Tensor dInput = scratch.allocate(DType.F32, rows.count(), dTokens.cols());
      network.backward(
          dInput,
          false,
          dRowWeights,
          dOutput,
          quantizer.operand(Fp8TensorKind.GRADIENT_TRANSPOSED, dOutput, rows.starts(), scratch),
          quantizer.operand(Fp8TensorKind.INPUT_TRANSPOSED, input, rows.starts(), scratch),
          kept.gateUp,
          rows.starts(),
          rows.weight(),
          scratch);
      kernels.scatterAddRows(dTokens, dInput, rows.token());
    }
  }

  /** The token of each row, (R, D). */
  private Tensor gather(Tensor tokens, ExpertRows rows, Scope scope) {
    Tensor gathered = scope.allocate(DType.BF16, rows.count(), tokens.cols());
    kernels.gatherRows(gathered, tokens, rows.token());
    return gathered;
  }
}
