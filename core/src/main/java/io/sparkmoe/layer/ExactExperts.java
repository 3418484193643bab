package io.sparkmoe.layer;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * {@link Experts} in the type of their weights. A row's weight is applied before the down
 * projection, so that the output need not be kept for the weight's gradient. Of the inner values
 * only the products before the activation are kept: all others fit a core's cache for one expert,
 * where gathering and activating them again takes less time than reading them from memory.
 *
 * <p>Legend: A tokens that arrived, R rows, e local experts, D model width, F expert width.
 */
final class ExactExperts implements Experts {

  private final Kernels kernels;
  private final Weight gateUp;
  private final Weight down;
  private final StaleGradients staleGradients;

  /**
   * @param tokens (A, D)
   * @param gateUp products before the activation, (R, 2F); the backward overwrites them
   */
  private record Kept(ExpertRows rows, Tensor tokens, Tensor gateUp) implements Saved {}

  ExactExperts(Kernels kernels, Weight gateUp, Weight down) {
    this.kernels = kernels;
    this.gateUp = gateUp;
    this.down = down;
    this.staleGradients = new StaleGradients(down.value().dim(0));
  }

  /** The gradients of all experts were used up. */
  void gradientsAreStale() {
    staleGradients.all();
  }

  @Override
  public Saved forward(Tensor outputs, ProjectionInput arrived, ExpertRows rows, Scope scope) {
    Tensor tokens = ExactLayers.Input.of(arrived);
    Tensor products = scope.allocate(tokens.type(), rows.count(), gateUp.value().dim(1));
    Kept kept = new Kept(rows, tokens, products);
    try (Scope scratch = scope.inner()) {
      Tensor output = scratch.allocate(outputs.type(), rows.count(), outputs.cols());
      kernels.forEachGroup(
          rows.starts(),
          e -> {
            try (Scope inner = scope.inner()) {
              forward(e, rows.of(output, e), kept, inner);
            }
          });
      kernels.scatterAddRows(outputs, output, rows.token());
    }
    return kept;
  }

  /** One expert's rows. */
  private void forward(int e, Tensor output, Kept kept, Scope scratch) {
    ExpertRows own = kept.rows.of(e);
    int[] starts = own.starts();
    Tensor product = kept.rows.of(kept.gateUp, e);
    Tensor input = own.gather(kernels, kept.tokens, scratch);
    kernels.groupedMatmul(
        product, input, ExpertRows.matrix(gateUp.value(), e), true, starts, false);
    Tensor hidden = hidden(own, scratch);
    kernels.swiGlu(hidden, product, own.weight());
    kernels.groupedMatmul(output, hidden, ExpertRows.matrix(down.value(), e), true, starts, false);
  }

  @Override
  public void backward(
      Tensor dTokens, Tensor dRowWeights, Tensor dOutputs, Saved saved, Scope scope) {
    Kept kept = (Kept) saved;
    ExpertRows rows = kept.rows;
    try (Scope scratch = scope.inner()) {
      Tensor dInput = scratch.allocate(dTokens.type(), rows.count(), dTokens.cols());
      kernels.forEachGroup(
          rows.starts(),
          e -> {
            try (Scope inner = scope.inner()) {
              backward(e, rows.of(dInput, e), rows.of(dRowWeights, e), dOutputs, kept, inner);
            }
          });
      staleGradients.clear(gateUp.gradient(), down.gradient());
      kernels.scatterAddRows(dTokens, dInput, rows.token());
    }
  }

  /** One expert's rows. */
  private void backward(
      int e, Tensor dInput, Tensor dRowWeights, Tensor dOutputs, Kept kept, Scope scratch) {
    ExpertRows own = kept.rows.of(e);
    int[] starts = own.starts();
    boolean accumulate = staleGradients.accumulate(e);
    Tensor dOutput = own.gather(kernels, dOutputs, scratch);
    // forward: output = hidden down^T
    Tensor dHidden = hidden(own, scratch);
    kernels.groupedMatmul(
        dHidden, dOutput, ExpertRows.matrix(down.value(), e), false, starts, false);
    Tensor dGateUp = kept.rows.of(kept.gateUp, e);
    Tensor hidden = dHidden;
    kernels.swiGluBackward(dGateUp, dRowWeights, hidden, dHidden, dGateUp, own.weight());
    kernels.groupedWeightGradient(
        ExpertRows.matrix(down.gradient(), e), dOutput, hidden, starts, accumulate);
    // forward: product = input gateUp^T
    kernels.groupedMatmul(
        dInput, dGateUp, ExpertRows.matrix(gateUp.value(), e), false, starts, false);
    kernels.groupedWeightGradient(
        ExpertRows.matrix(gateUp.gradient(), e),
        dGateUp,
        own.gather(kernels, kept.tokens, scratch),
        starts,
        accumulate);
  }

  /** Unwritten values after the activation of each row, or their gradients, (R, F). */
  private Tensor hidden(ExpertRows rows, Scope scope) {
    return scope.allocate(down.value().type(), rows.count(), down.value().dim(2));
  }
}
