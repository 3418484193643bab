package io.sparkmoe.moe;

import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * The gating networks of a model, one per MoE layer, wherever they are evaluated. Calls come in two
 * halves so that the caller can compute the shared expert while a distant gate decides. T tokens, B
 * sequences, D model width, K experts of a token.
 */
public interface Gate {

  /** An answer under way; {@code await} may be called once. */
  @FunctionalInterface
  interface Pending<R> {
    R await();
  }

  /**
   * Asks for the experts of every token.
   *
   * @param x the layer's normalised input, (T, D); must stay unchanged until the backward of the
   *     same site
   * @param valid I32 (B), tokens before the padding of each sequence; padding is routed but not
   *     counted
   * @param scope owns the routing's tensors
   */
  Pending<Routing> route(GateSite site, Tensor x, Tensor valid, Scope scope);

  /**
   * Backward of {@link #route}: adds to the gate's weight gradient and, on await, to dx.
   *
   * @param dx gradient of x, (T, D), added to
   * @param dWeights gradient of the routing weights, (T, K)
   * @param balanceGradientScale factor of the balance loss in the total loss, per sequence
   */
  Pending<Void> backward(GateSite site, Tensor dx, Tensor dWeights, double balanceGradientScale);

  /**
   * Whether what {@link #backward} needs is kept somewhere else than in the scope of {@link #route}
   * and in x: then a layer that is computed again need not ask again, it keeps the answer.
   */
  default boolean keepsElsewhere() {
    return false;
  }
}
