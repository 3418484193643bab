package io.sparkmoe.moe;

import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * Carries tokens to the ranks that own their experts and the weighted outputs back. One copy of a
 * token goes to a rank however many of its experts live there, and one row comes back: the owner
 * sums {@code weight * output} first. Nothing is ever dropped. T tokens of this rank, R (token,
 * expert) pairs that landed here, D model width, K experts of a token.
 */
public interface TokenDispatcher {

  /** What arrived here for the local experts; both backwards receive it again. */
  interface Dispatched {
    /** Expert inputs (R, D), ordered by local expert, then source rank, then token. */
    Tensor input();

    /**
     * Row numbers: local expert e has rows [rowStarts[e], rowStarts[e+1]) of input; numLocalExperts
     * + 1 entries.
     */
    int[] rowStarts();

    /**
     * (token, expert) pairs that this rank sent out, minus those that were acknowledged as arrived:
     * must be zero once combine has returned.
     */
    long droppedTokens();
  }

  /** Sends x (T, D) by the routing and receives what belongs to the local experts. */
  Dispatched dispatch(GateSite site, Tensor x, Routing routing, Scope scope);

  /**
   * Sends the local experts' outputs (R, D) back and adds {@code sum_k weight_k * output_k} to y
   * (T, D).
   */
  void combine(GateSite site, Dispatched dispatched, Tensor y, Tensor output, Scope scope);

  /**
   * Backward of {@link #combine}: sends dy (T, D) to the experts' ranks.
   *
   * @param output what combine was given, for the gradient of the weights
   * @return gradient of output, (R, D)
   */
  Tensor combineBackward(
      GateSite site, Dispatched dispatched, Tensor dy, Tensor output, Scope scope);

  /**
   * Backward of {@link #dispatch}: sends the gradients of the expert inputs home.
   *
   * @param dx gradient of x, (T, D), added to
   * @param dWeights gradient of the routing weights, (T, K), written
   * @param dInput gradient of the expert inputs, (R, D)
   */
  void dispatchBackward(
      GateSite site, Dispatched dispatched, Tensor dx, Tensor dWeights, Tensor dInput, Scope scope);
}
