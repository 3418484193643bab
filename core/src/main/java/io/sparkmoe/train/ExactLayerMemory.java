package io.sparkmoe.train;

import io.sparkmoe.train.AllocationLedger.Frame;

/** Of {@code ExactLayers}, in FP32: inputs are kept as they are. */
record ExactLayerMemory(AllocationLedger ledger) implements LayerMemory {

  @Override
  public Frame inputFrame(Frame saved, Frame scratch) {
    return saved;
  }

  @Override
  public void input(Frame saved, Frame scratch, long rows, long columns) {}

  @Override
  public void forGradient(Frame scratch, long rows, long columns) {}

  @Override
  public void again(Frame scratch, long rows, long columns) {}

  @Override
  public boolean keepsProducts() {
    return true;
  }

  @Override
  public void keep(Frame saved, long elements) {}

  @Override
  public void restore(Frame scratch, long elements) {}

  @Override
  public void projectionBackward(long rows, long columns) {}

  @Override
  public void head(Frame scratch, long rows, long width, long columns) {}

  @Override
  public void gate(Frame saved, long rows, long width) {}

  @Override
  public void feedForward(Frame saved, long rows, long inner) {
    saved.words(2 * rows * inner);
    try (Frame scratch = ledger.open()) {
      scratch.words(rows * inner);
    }
  }

  @Override
  public void feedForwardBackward(long rows, long width, long inner) {
    try (Frame scratch = ledger.open()) {
      scratch.words(rows * inner);
    }
  }

  /** Experts run one by one on their own few rows; only what all of them leave counts. */
  @Override
  public void experts(Frame saved, long rows, long width, long inner) {
    saved.words(2 * rows * inner);
    try (Frame scratch = ledger.open()) {
      scratch.words(rows * width);
    }
  }

  @Override
  public void expertsBackward(long arrivals, long rows, long width, long inner) {
    try (Frame scratch = ledger.open()) {
      scratch.words(rows * width);
    }
  }
}
