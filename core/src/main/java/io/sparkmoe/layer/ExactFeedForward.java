package io.sparkmoe.layer;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.Linear;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/** {@link FeedForward} in the type of its weights. T tokens, D model width, F width. */
final class ExactFeedForward implements FeedForward {

  private final Kernels kernels;
  private final Linear gateUp;
  private final Linear down;

  /**
   * @param x input, (T, D)
   * @param gateUp products before the activation, (T, 2F); the backward overwrites them
   * @param hidden after it, (T, F)
   */
  private record Kept(Tensor x, Tensor gateUp, Tensor hidden) implements Saved {}

  ExactFeedForward(Kernels kernels, Weight gateUp, Weight down) {
    this.kernels = kernels;
    this.gateUp = new Linear(kernels, gateUp);
    this.down = new Linear(kernels, down);
  }

  @Override
  public Saved forward(Tensor y, ProjectionInput input, Scope scope) {
    Tensor x = ExactLayers.Input.of(input);
    Tensor product = scope.allocate(x.type(), x.rows(), gateUp.outputWidth());
    Tensor hidden = scope.allocate(x.type(), x.rows(), down.inputWidth());
    gateUp.forward(product, x);
    kernels.swiGlu(hidden, product);
    down.forwardAdd(y, hidden);
    return new Kept(x, product, hidden);
  }

  @Override
  public void backward(Tensor dx, Tensor dy, Saved saved, Scope scope) {
    Kept kept = (Kept) saved;
    try (Scope scratch = scope.inner()) {
      Tensor dHidden = scratch.allocate(dy.type(), kept.hidden.shape());
      down.backward(dHidden, dy, kept.hidden);
      Tensor dGateUp = kept.gateUp;
      kernels.swiGluBackward(dGateUp, dHidden, kept.gateUp);
      gateUp.backwardAdd(dx, dGateUp, kept.x);
    }
  }
}
