package io.sparkmoe.moe;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * The routed experts that live on this rank: one gated feed-forward network each, {@code output =
 * down(silu(gate input) * up input)} over the rows that belong to it.
 *
 * <p>Legend: R rows, e local experts, D model width, F expert width.
 */
public final class Experts {

  private final Kernels kernels;
  private final Weight gateUp;
  private final Weight down;

  /**
   * What the backward needs.
   *
   * @param input (R, D)
   * @param rowStarts e + 1 row numbers; local expert i has rows [rowStarts[i], rowStarts[i+1])
   * @param gateUp products before the activation, (R, 2F); the backward overwrites them
   * @param hidden after it, (R, F)
   * @param output (R, D)
   */
  public record Saved(Tensor input, int[] rowStarts, Tensor gateUp, Tensor hidden, Tensor output) {}

  /**
   * @param gateUp gate_proj and up_proj of each expert one after the other, (e, 2F, D)
   * @param down down_proj of each expert, (e, D, F)
   */
  public Experts(Kernels kernels, Weight gateUp, Weight down) {
    this.kernels = kernels;
    this.gateUp = gateUp;
    this.down = down;
  }

  /** Runs every expert on its rows of input (R, D). */
  public Saved forward(Tensor input, int[] rowStarts, Scope scope) {
    int rows = rowStarts[rowStarts.length - 1];
    Tensor product = scope.allocate(input.type(), rows, gateUp.value().dim(1));
    Tensor hidden = scope.allocate(input.type(), rows, down.value().dim(2));
    Tensor output = scope.allocate(input.type(), rows, down.value().dim(1));
    kernels.groupedMatmul(product, input, gateUp.value(), true, rowStarts, false);
    kernels.swiGlu(hidden, product);
    kernels.groupedMatmul(output, hidden, down.value(), true, rowStarts, false);
    return new Saved(input, rowStarts, product, hidden, output);
  }

  /**
   * Backward of {@link #forward}: adds to the weight gradients.
   *
   * @param dInput gradient of the input, (R, D), written
   * @param dOutput gradient of the output, (R, D)
   */
  public void backward(Tensor dInput, Tensor dOutput, Saved saved, Scope scope) {
    try (Scope scratch = scope.inner()) {
      // forward: output = hidden down^T
      Tensor dHidden = scratch.allocate(dOutput.type(), saved.hidden.shape());
      kernels.groupedMatmul(dHidden, dOutput, down.value(), false, saved.rowStarts, false);
      kernels.groupedWeightGradient(down.gradient(), dOutput, saved.hidden, saved.rowStarts);
      Tensor dGateUp = saved.gateUp;
      kernels.swiGluBackward(dGateUp, dHidden, saved.gateUp);
      // forward: product = input gateUp^T
      kernels.groupedMatmul(dInput, dGateUp, gateUp.value(), false, saved.rowStarts, false);
      kernels.groupedWeightGradient(gateUp.gradient(), dGateUp, saved.input, saved.rowStarts);
    }
  }
}
