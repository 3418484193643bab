package io.sparkmoe.model;

import io.sparkmoe.tensor.Tensor;
import java.util.List;

/**
 * The tokens of one forward pass on one rank. B sequences, S tokens of each.
 *
 * @param inputs I32 (B, S), row-major
 * @param targets I32 (B, S): the token that follows each input, -1 = ignored
 * @param mtpTargets one per MTP depth k = 1, 2, ...: I32 (B, S - k); position i is the token at i +
 *     k + 1 as seen from input i, -1 = ignored (no such token, padding, or another document begins
 *     between)
 * @param valid I32 (B): number of inputs of each sequence before its padding
 * @param distillation what a teacher says about the targets, null = learn from the targets alone;
 *     MTP modules always do
 */
public record TokenBatch(
    Tensor inputs,
    Tensor targets,
    List<Tensor> mtpTargets,
    Tensor valid,
    Distillation distillation) {

  /** A batch without a teacher. */
  public TokenBatch(Tensor inputs, Tensor targets, List<Tensor> mtpTargets, Tensor valid) {
    this(inputs, targets, mtpTargets, valid, null);
  }

  /** B. */
  public int numSequences() {
    return inputs.dim(0);
  }

  /** S. */
  public int seqLen() {
    return inputs.dim(1);
  }
}
