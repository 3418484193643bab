package io.sparkmoe.layer;

import io.sparkmoe.tensor.Tensor;

/**
 * The rows that local experts compute, one for each (token, expert) pair, ordered by local expert.
 * Legend: A tokens that arrived, R rows.
 *
 * @param starts rows of local expert e are [starts[e], starts[e+1])
 * @param token arrived token of each row, I32 (R), in [0, A)
 * @param weight routing weight of each row, (R)
 */
public record ExpertRows(int[] starts, Tensor token, Tensor weight) {

  /** R. */
  public int count() {
    return token.size();
  }
}
