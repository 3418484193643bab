package io.sparkmoe.layer;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.Linear;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * {@link FeedForward} in the type of its weights. Of the inner values only the products before the
 * activation are kept; the backward computes the activation again from them. T tokens, D model
 * width, F width.
 */
final class ExactFeedForward implements FeedForward {

  private final Kernels kernels;
  private final Linear gateUp;
  private final Linear down;

  /**
   * @param x input, (T, D)
   * @param gateUp products before the activation, (T, 2F); the backward overwrites them
   */
  private record Kept(Tensor x, Tensor gateUp) implements Saved {}

  ExactFeedForward(Kernels kernels, Weight gateUp, Weight down) {
    this.kernels = kernels;
    this.gateUp = new Linear(kernels, gateUp);
    this.down = new Linear(kernels, down);
  }

  @Override
  public Saved forward(Tensor y, ProjectionInput input, Scope scope) {
    Tensor x = ExactLayers.Input.of(input);
    Tensor product = scope.allocate(x.type(), x.rows(), gateUp.outputWidth());
    gateUp.forward(product, x);
    try (Scope scratch = scope.inner()) {
      Tensor hidden = scratch.allocate(x.type(), x.rows(), down.inputWidth());
      kernels.swiGlu(hidden, product, null);
      down.forwardAdd(y, hidden);
    }
    return new Kept(x, product);
  }

  @Override
  public void backward(Tensor dx, Tensor dy, Saved saved, Scope scope) {
    Kept kept = (Kept) saved;
    try (Scope scratch = scope.inner()) {
      Tensor dHidden = scratch.allocate(dy.type(), dy.rows(), down.inputWidth());
      down.inputGradient(dHidden, dy);
      Tensor dGateUp = kept.gateUp;
      Tensor hidden = dHidden;
      kernels.swiGluBackward(dGateUp, null, hidden, dHidden, dGateUp, null);
      down.addWeightGradient(dy, hidden);
      gateUp.backwardAdd(dx, dGateUp, kept.x);
    }
  }
}
