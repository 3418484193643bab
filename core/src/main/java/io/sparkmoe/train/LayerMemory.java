package io.sparkmoe.train;

import io.sparkmoe.train.AllocationLedger.Frame;

/**
 * What the layers of a {@link Precision} allocate: one method for each method of {@code Layers} and
 * of what it makes that does, in the same order.
 *
 * <p>Legend: R rows, N columns, D model width, F inner width, A tokens that arrived.
 */
interface LayerMemory {

  /**
   * The layers of that precision.
   *
   * @param gemmBackend name of the matrix library, or how it is chosen
   */
  static LayerMemory of(Precision precision, String gemmBackend, AllocationLedger ledger) {
    return switch (precision) {
      case FP32 -> new ExactLayerMemory(ledger);
      case FP8 -> new Fp8LayerMemory(ledger, precision.productInputs(gemmBackend));
    };
  }

  /** {@code Layers.inputAllocator}. */
  Frame inputFrame(Frame saved, Frame scratch);

  /** {@code Layers.input} of (R, N). */
  void input(Frame saved, Frame scratch, long rows, long columns);

  /** {@code ProjectionInput.forGradient}. */
  void forGradient(Frame scratch, long rows, long columns);

  /** {@code ProjectionInput.again}. */
  void again(Frame scratch, long rows, long columns);

  /** {@code Layers.keepsProducts}. */
  boolean keepsProducts();

  /** {@code Layers.keep}. */
  void keep(Frame saved, long elements);

  /** {@code Layers.Kept.restore}. */
  void restore(Frame scratch, long elements);

  /** {@code Projection.backward} from a gradient (R, N). */
  void projectionBackward(long rows, long columns);

  /** {@code Layers.headInput} of (R, D) and the head's backward from logits (R, N). */
  void head(Frame scratch, long rows, long width, long columns);

  /** What the gate is shown of (R, D). */
  void gate(Frame saved, long rows, long width);

  /** {@code FeedForward.forward} of R rows. */
  void feedForward(Frame saved, long rows, long inner);

  /** {@code FeedForward.backward}. */
  void feedForwardBackward(long rows, long width, long inner);

  /** {@code Experts.forward} of R rows. */
  void experts(Frame saved, long rows, long width, long inner);

  /** {@code Experts.backward}. */
  void expertsBackward(long arrivals, long rows, long width, long inner);
}
