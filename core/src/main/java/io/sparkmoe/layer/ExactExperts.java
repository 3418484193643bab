package io.sparkmoe.layer;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * {@link Experts} in the type of their weights; routing weights scale the outputs.
 *
 * <p>Legend: R rows, e local experts, D model width, F expert width.
 */
final class ExactExperts implements Experts {

  private final Kernels kernels;
  private final Weight gateUp;
  private final Weight down;

  /**
   * @param input token of each row, (R, D)
   * @param gateUp products before the activation, (R, 2F); the backward overwrites them
   * @param hidden after it, (R, F)
   * @param output before it is weighted, (R, D); the backward overwrites it
   */
  private record Kept(ExpertRows rows, Tensor input, Tensor gateUp, Tensor hidden, Tensor output)
      implements Saved {}

  ExactExperts(Kernels kernels, Weight gateUp, Weight down) {
    this.kernels = kernels;
    this.gateUp = gateUp;
    this.down = down;
  }

  @Override
  public Saved forward(Tensor outputs, ProjectionInput arrived, ExpertRows rows, Scope scope) {
    Tensor tokens = ExactLayers.Input.of(arrived);
    Tensor input = scope.allocate(tokens.type(), rows.count(), tokens.cols());
    Tensor product = scope.allocate(tokens.type(), rows.count(), gateUp.value().dim(1));
    Tensor hidden = scope.allocate(tokens.type(), rows.count(), down.value().dim(2));
    Tensor output = scope.allocate(tokens.type(), rows.count(), down.value().dim(1));
    if (rows.count() > 0) {
      kernels.gatherRows(input, tokens, rows.token());
      kernels.groupedMatmul(product, input, gateUp.value(), true, rows.starts(), false);
      kernels.swiGlu(hidden, product);
      kernels.groupedMatmul(output, hidden, down.value(), true, rows.starts(), false);
      kernels.scatterAddScaledRows(outputs, output, rows.token(), rows.weight());
    }
    return new Kept(rows, input, product, hidden, output);
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
      // forward: outputs[token] += weight * output
      kernels.gatherDot(dRowWeights, kept.output, dOutputs, rows.token());
      Tensor dOutput = kept.output;
      kernels.gatherScaledRows(dOutput, dOutputs, rows.token(), rows.weight());
      // forward: output = hidden down^T
      Tensor dHidden = scratch.allocate(dOutput.type(), kept.hidden.shape());
      kernels.groupedMatmul(dHidden, dOutput, down.value(), false, rows.starts(), false);
      kernels.groupedWeightGradient(down.gradient(), dOutput, kept.hidden, rows.starts());
      Tensor dGateUp = kept.gateUp;
      kernels.swiGluBackward(dGateUp, dHidden, kept.gateUp);
      // forward: product = input gateUp^T
      Tensor dInput = scratch.allocate(dOutput.type(), dOutput.shape());
      kernels.groupedMatmul(dInput, dGateUp, gateUp.value(), false, rows.starts(), false);
      kernels.groupedWeightGradient(gateUp.gradient(), dGateUp, kept.input, rows.starts());
      kernels.scatterAddRows(dTokens, dInput, rows.token());
    }
  }
}
