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
   * Losses of a block of rows, and their gradient unless the scale is zero.
   *
   * @param losses (rows) written, in nats
   * @param dLogits the logits themselves, or an operand (rows, C) for a gradient rounded to BF16
   * @param logits (rows, C), overwritten unless the scale is zero
   * @param first number of the block's first row in the pass
   */
  void apply(
      Kernels kernels,
      Tensor losses,
      Tensor dLogits,
      Tensor logits,
      int first,
      double gradientScale);

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
        Kernels kernels,
        Tensor losses,
        Tensor dLogits,
        Tensor logits,
        int first,
        double gradientScale) {
      Tensor own = targets.view(first, losses.size());
      if (dLogits == logits) {
        kernels.crossEntropy(losses, logits, own, gradientScale);
      } else {
        kernels.crossEntropyBfloat16(losses, dLogits, logits, own, gradientScale);
      }
    }
  }

  /** Distance from a teacher. */
  record Distilled(Tensor targets, Distillation distillation) implements HeadLoss {
    @Override
    public void apply(
        Kernels kernels,
        Tensor losses,
        Tensor dLogits,
        Tensor logits,
        int first,
        double gradientScale) {
      int rows = losses.size();
      kernels.distillation(
          losses,
          logits,
          targets.view(first, rows),
          distillation.teacher().rows(first, rows),
          distillation.loss(),
          gradientScale);
      if (dLogits != logits) {
        kernels.toBfloat16(dLogits, logits);
      }
    }
  }
}
