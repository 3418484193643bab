package io.sparkmoe.moe;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.Linear;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * A gated feed-forward network that every token passes: {@code y += down(silu(gate x) * up x)}. The
 * FFN of a dense layer, and the shared experts of a MoE layer, which are one such network of all
 * their widths together.
 *
 * <p>Legend: T tokens, D model width, F width.
 */
public final class FeedForward {

  private final Kernels kernels;
  private final Linear gateUp;
  private final Linear down;

  /**
   * What the backward needs.
   *
   * @param x input, (T, D)
   * @param gateUp products before the activation, (T, 2F); the backward overwrites them
   * @param hidden after it, (T, F)
   */
  public record Saved(Tensor x, Tensor gateUp, Tensor hidden) {}

  /**
   * @param gateUp gate_proj and up_proj one after the other, (2F, D)
   * @param down down_proj, (D, F)
   */
  public FeedForward(Kernels kernels, Weight gateUp, Weight down) {
    this.kernels = kernels;
    this.gateUp = new Linear(kernels, gateUp);
    this.down = new Linear(kernels, down);
  }

  /** Adds the network's output for x (T, D) to y (T, D). */
  public Saved forward(Tensor y, Tensor x, Scope scope) {
    Tensor product = scope.allocate(x.type(), x.rows(), gateUp.outputWidth());
    Tensor hidden = scope.allocate(x.type(), x.rows(), down.inputWidth());
    gateUp.forward(product, x);
    kernels.swiGlu(hidden, product);
    down.forwardAdd(y, hidden);
    return new Saved(x, product, hidden);
  }

  /** Backward of {@link #forward}: adds to dx (T, D) and to the weight gradients; dy (T, D). */
  public void backward(Tensor dx, Tensor dy, Saved saved, Scope scope) {
    try (Scope scratch = scope.inner()) {
      Tensor dHidden = scratch.allocate(dy.type(), saved.hidden.shape());
      down.backward(dHidden, dy, saved.hidden);
      Tensor dGateUp = saved.gateUp;
      kernels.swiGluBackward(dGateUp, dHidden, saved.gateUp);
      gateUp.backwardAdd(dx, dGateUp, saved.x);
    }
  }
}
