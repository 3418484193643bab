package io.sparkmoe.layer;

import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * A gated feed-forward network that every token passes: {@code y += down(silu(gate x) * up x)}. The
 * FFN of a dense layer, and the shared experts of a MoE layer, which are one such network of all
 * their widths together.
 *
 * <p>Legend: T tokens, D model width.
 */
public interface FeedForward {

  /** What a forward leaves for its backward, which may overwrite it. */
  interface Saved {}

  /** Adds the network's output for x (T, D) to y (T, D). */
  Saved forward(Tensor y, ProjectionInput x, Scope scope);

  /** Backward of {@link #forward}: adds to dx (T, D) and to the weight gradients; dy (T, D). */
  void backward(Tensor dx, Tensor dy, Saved saved, Scope scope);
}
