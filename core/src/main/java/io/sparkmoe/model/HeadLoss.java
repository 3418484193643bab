package io.sparkmoe.model;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.tensor.Tensor;

/**
 * What the head's rows are measured by.
 *
 * <p>Legend: T rows of a pass, C vocabulary.
 */
interface HeadLoss {

  /** Next tokens, I32 (T), -1 = ignored. */
  Tensor targets();

  /**
   * Losses of a block of rows, and their gradient in place of the logits unless the scale is zero.
   *
   * @param losses (rows) written, in nats
   * @param logits (rows, C)
   * @param first number of the block's first row in the pass
   */
  void apply(Kernels kernels, Tensor losses, Tensor logits, int first, double gradientScale);

  /** Cross-entropy of the next token. */
  static HeadLoss crossEntropy(Tensor targets) {
    return new CrossEntropy(targets);
  }

  /** The batch's own: a teacher's where it has one, else cross-entropy. */
  static HeadLoss of(TokenBatch batch) {
    return batch.distillation() == null
        ? crossEntropy(batch.targets())
        : new Distilled(batch.targets(), batch.distillation());
  }

  /** See {@link #crossEntropy}. */
  record CrossEntropy(Tensor targets) implements HeadLoss {
    @Override
    public void apply(
        Kernels kernels, Tensor losses, Tensor logits, int first, double gradientScale) {
      kernels.crossEntropy(losses, logits, targets.view(first, losses.size()), gradientScale);
    }
  }

  /** Distance from a teacher. */
  record Distilled(Tensor targets, Distillation distillation) implements HeadLoss {
    @Override
    public void apply(
        Kernels kernels, Tensor losses, Tensor logits, int first, double gradientScale) {
      int rows = losses.size();
      kernels.distillation(
          losses,
          logits,
          targets.view(first, rows),
          distillation.teacher().rows(first, rows),
          distillation.loss(),
          gradientScale);
    }
  }
}
