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
  private final ZeroGradients zeroGradients;

  /**
   * @param input token of each row, (R, D)
   * @param gateUp products before the activation, (R, 2F); the backward overwrites them
   * @param hidden after it, (R, F)
   * @param output before it is weighted, (R, D); the backward overwrites it
   */
  private record Kept(ExpertRows rows, Tensor input, Tensor gateUp, Tensor hidden, Tensor output)
      implements Saved {

    /** What one expert keeps. */
    Kept of(int e) {
      return new Kept(
          rows.of(e),
          rows.of(input, e),
          rows.of(gateUp, e),
          rows.of(hidden, e),
          rows.of(output, e));
    }
  }

  ExactExperts(Kernels kernels, Weight gateUp, Weight down) {
    this.kernels = kernels;
    this.gateUp = gateUp;
    this.down = down;
    this.zeroGradients = new ZeroGradients(down.value().dim(0));
  }

  /** The gradients of all experts are zero. */
  void gradientsAreZero() {
    zeroGradients.all();
  }

  @Override
  public Saved forward(Tensor outputs, ProjectionInput arrived, ExpertRows rows, Scope scope) {
    Tensor tokens = ExactLayers.Input.of(arrived);
    Tensor input = scope.allocate(tokens.type(), rows.count(), tokens.cols());
    Tensor product = scope.allocate(tokens.type(), rows.count(), gateUp.value().dim(1));
    Tensor hidden = scope.allocate(tokens.type(), rows.count(), down.value().dim(2));
    Tensor output = scope.allocate(tokens.type(), rows.count(), down.value().dim(1));
    Kept kept = new Kept(rows, input, product, hidden, output);
    kernels.forEachGroup(rows.starts(), e -> forward(kept.of(e), tokens, e));
    kernels.scatterAddScaledRows(outputs, output, rows.token(), rows.weight());
    return kept;
  }

  /** One expert's rows. */
  private void forward(Kept own, Tensor tokens, int e) {
    int[] starts = own.rows.starts();
    kernels.gatherRows(own.input, tokens, own.rows.token());
    kernels.groupedMatmul(
        own.gateUp, own.input, ExpertRows.matrix(gateUp.value(), e), true, starts, false);
    kernels.swiGlu(own.hidden, own.gateUp);
    kernels.groupedMatmul(
        own.output, own.hidden, ExpertRows.matrix(down.value(), e), true, starts, false);
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
      Tensor dHidden = scratch.allocate(dOutputs.type(), kept.hidden.shape());
      Tensor dInput = scratch.allocate(dOutputs.type(), kept.output.shape());
      kernels.forEachGroup(
          rows.starts(),
          e ->
              backward(
                  rows.of(dInput, e),
                  rows.of(dHidden, e),
                  rows.of(dRowWeights, e),
                  dOutputs,
                  kept.of(e),
                  e));
      kernels.scatterAddRows(dTokens, dInput, rows.token());
    }
  }

  /** One expert's rows. */
  private void backward(
      Tensor dInput, Tensor dHidden, Tensor dRowWeights, Tensor dOutputs, Kept own, int e) {
    int[] starts = own.rows.starts();
    boolean accumulate = zeroGradients.accumulate(e);
    // forward: outputs[token] += weight * output
    kernels.gatherDot(dRowWeights, own.output, dOutputs, own.rows.token());
    Tensor dOutput = own.output;
    kernels.gatherScaledRows(dOutput, dOutputs, own.rows.token(), own.rows.weight());
    // forward: output = hidden down^T
    kernels.groupedMatmul(
        dHidden, dOutput, ExpertRows.matrix(down.value(), e), false, starts, false);
    kernels.groupedWeightGradient(
        ExpertRows.matrix(down.gradient(), e), dOutput, own.hidden, starts, accumulate);
    Tensor dGateUp = own.gateUp;
    kernels.swiGluBackward(dGateUp, dHidden, own.gateUp);
    // forward: product = input gateUp^T
    kernels.groupedMatmul(
        dInput, dGateUp, ExpertRows.matrix(gateUp.value(), e), false, starts, false);
    kernels.groupedWeightGradient(
        ExpertRows.matrix(gateUp.gradient(), e), dGateUp, own.input, starts, accumulate);
  }
}
