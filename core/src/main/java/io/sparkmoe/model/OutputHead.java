package io.sparkmoe.model;

import io.sparkmoe.kernel.Weight;
import io.sparkmoe.layer.Layers;
import io.sparkmoe.layer.Projection;
import io.sparkmoe.layer.ProjectionInput;
import io.sparkmoe.parallel.Phase;
import io.sparkmoe.parallel.PhaseClock;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * The language-model head and its loss. Rows are taken in blocks and their gradient is computed in
 * the same pass, so logits, the largest tensor of a small model, exist for one block at a time.
 *
 * <p>Legend: T tokens, D model width, C vocabulary.
 */
final class OutputHead {

  /** Logits of a block: 8 MB, which the last-level cache keeps from one product to the next. */
  private static final int BLOCK_ELEMENTS = 1 << 21;

  /** Rows below which the products get slow, whatever the vocabulary. */
  private static final int LEAST_BLOCK_ROWS = 256;

  private final Layers layers;
  private final Projection head;
  private final PhaseClock clock;
  private final int blockRows;

  /**
   * @param sum of the losses, in nats
   * @param count targets that were not ignored
   */
  record LossSum(double sum, long count) {}

  /**
   * @param head lm_head, (C, D)
   * @param clock learns what the time went to
   */
  OutputHead(Layers layers, Weight head, PhaseClock clock) {
    this(layers, head, clock, blockRows(head.value().dim(0)));
  }

  /**
   * @param blockRows rows whose logits exist at a time
   */
  OutputHead(Layers layers, Weight head, PhaseClock clock, int blockRows) {
    this.layers = layers;
    this.head = layers.head(head);
    this.clock = clock;
    this.blockRows = blockRows;
  }

  /** Rows whose logits exist at a time, with so many tokens in the vocabulary. */
  static int blockRows(int vocabulary) {
    return Math.max(LEAST_BLOCK_ROWS, BLOCK_ELEMENTS / vocabulary);
  }

  /** Logits (T, C), written, of normed (T, D). */
  void logits(Tensor logits, Tensor normed, Scope scope) {
    try (Scope scratch = scope.inner()) {
      head.forward(logits, layers.headInput(normed, scratch));
    }
  }

  /** Logits of normed (T, D), told block by block. */
  void logits(Tensor normed, Scope scope, LogitsListener listener) {
    forEachBlock(
        normed, scope, (start, rows, logits, input, inner) -> listener.onLogits(start, logits));
  }

  /** Cross-entropy of normed (T, D) against targets I32 (T), -1 = ignored. */
  LossSum loss(Tensor normed, Tensor targets, Scope scope) {
    return inBlocks(null, normed, HeadLoss.crossEntropy(targets), 0, scope);
  }

  /**
   * Loss of normed (T, D), and adds to the head's gradient.
   *
   * @param dNormed gradient of normed, (T, D), written
   * @param gradientScale factor of the losses' sum in the total loss
   */
  LossSum lossAndGradient(
      Tensor dNormed, Tensor normed, HeadLoss loss, double gradientScale, Scope scope) {
    if (gradientScale == 0) {
      dNormed.zero();
      return inBlocks(null, normed, loss, 0, scope);
    }
    return inBlocks(dNormed, normed, loss, gradientScale, scope);
  }

  private LossSum inBlocks(
      Tensor dNormed, Tensor normed, HeadLoss loss, double gradientScale, Scope scope) {
    int numTokens = normed.rows();
    int width = head.inputWidth();
    double sum = 0;
    long count = 0;
    try (Scope scratch = scope.inner()) {
      Tensor losses = scratch.allocate(normed.type(), numTokens);
      forEachBlock(
          normed,
          scratch,
          (start, rows, logits, input, inner) -> {
            Tensor own = losses.view(start, rows);
            if (dNormed == null) {
              loss.apply(layers.kernels(), own, logits, logits, start, 0);
              return;
            }
            Tensor dLogits = layers.headGradient(logits, inner);
            loss.apply(layers.kernels(), own, dLogits, logits, start, gradientScale);
            Tensor dBlock = dNormed.view(start * width, rows, width);
            head.backward(dBlock, dLogits, input.forGradient(inner), inner);
          });
      for (int i = 0; i < numTokens; i++) {
        sum += losses.get(i);
        count += loss.targets().getInt(i) >= 0 ? 1 : 0;
      }
    }
    return new LossSum(sum, count);
  }

  /** What is done with a block of rows. */
  @FunctionalInterface
  private interface Block {

    /**
     * @param start number of its first row
     * @param logits (rows, C), which may be overwritten
     * @param input what they were made of
     */
    void run(int start, int rows, Tensor logits, ProjectionInput input, Scope inner);
  }

  /** Takes normed (T, D) in blocks of rows. */
  private void forEachBlock(Tensor normed, Scope scope, Block block) {
    int numTokens = normed.rows();
    int width = head.inputWidth();
    int vocabulary = head.outputWidth();
    Phase before = clock.enter(Phase.HEAD);
    try (Scope scratch = scope.inner()) {
      Tensor logits = scratch.allocate(normed.type(), Math.min(blockRows, numTokens), vocabulary);
      for (int start = 0; start < numTokens; start += blockRows) {
        int rows = Math.min(blockRows, numTokens - start);
        Tensor blockLogits = logits.view(0, rows, vocabulary);
        try (Scope inner = scratch.inner()) {
          ProjectionInput input = layers.headInput(normed.view(start * width, rows, width), inner);
          head.forward(blockLogits, input);
          block.run(start, rows, blockLogits, input, inner);
        }
      }
    }
    clock.enter(before);
  }
}
