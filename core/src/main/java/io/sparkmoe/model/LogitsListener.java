package io.sparkmoe.model;

import io.sparkmoe.tensor.Tensor;

/** Hears of the logits of a forward pass, a block of tokens at a time. */
@FunctionalInterface
public interface LogitsListener {

  /**
   * @param first number of the block's first token in the pass
   * @param logits (rows, C), valid during the call
   */
  void onLogits(int first, Tensor logits);
}
