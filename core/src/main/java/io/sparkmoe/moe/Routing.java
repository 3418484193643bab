package io.sparkmoe.moe;

import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.Tensor;

/**
 * Decision of a gate for the tokens of one rank in one layer. T tokens, K experts of a token.
 *
 * @param ids chosen experts, I32 (T, K), ascending within a token
 * @param weights their weights, (T, K)
 * @param balanceLoss sequence-wise balance loss, summed over this rank's sequences
 */
public record Routing(Tensor ids, Tensor weights, double balanceLoss) {

  /** The same in other memory. */
  public Routing copy(Allocator allocator) {
    Tensor copiedIds = allocator.allocate(ids.type(), ids.shape());
    Tensor copiedWeights = allocator.allocate(weights.type(), weights.shape());
    copiedIds.copyFrom(ids);
    copiedWeights.copyFrom(weights);
    return new Routing(copiedIds, copiedWeights, balanceLoss);
  }
}
