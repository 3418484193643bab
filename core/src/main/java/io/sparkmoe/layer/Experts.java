package io.sparkmoe.layer;

import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * The routed experts that live on this rank: one gated feed-forward network each, over the tokens
 * that were routed to it, {@code outputs[token] += weight * down(silu(gate x[token]) * up
 * x[token])}.
 *
 * <p>Legend: A tokens that arrived here, R (token, expert) pairs, D model width.
 */
public interface Experts {

  /** What a forward leaves for its backward, which may overwrite it. */
  interface Saved {}

  /**
   * Runs every expert on its rows.
   *
   * @param outputs (A, D), added to
   * @param tokens (A, D)
   * @param rows which expert computes what; its tensors must live until the backward
   */
  Saved forward(Tensor outputs, ProjectionInput tokens, ExpertRows rows, Scope scope);

  /**
   * Backward of {@link #forward}: adds to the weight gradients.
   *
   * @param dTokens gradient of tokens, (A, D), added to
   * @param dRowWeights gradient of the rows' weights, (R), written
   * @param dOutputs gradient of outputs, (A, D)
   */
  void backward(Tensor dTokens, Tensor dRowWeights, Tensor dOutputs, Saved saved, Scope scope);
}
