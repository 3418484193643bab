package io.sparkmoe.train;

import io.sparkmoe.parallel.Wire;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.train.AllocationLedger.Frame;

/**
 * Of {@code Fp8Layers} with the recipe whose gated networks are fused: what is kept is codes and
 * scales.
 *
 * @param operands type in which products read it
 */
record Fp8LayerMemory(AllocationLedger ledger, DType operands) implements LayerMemory {

  private static void codes(Frame frame, long rows, long columns) {
    frame.bytes(rows * columns);
    frame.bytes(rows * (Wire.FP8.bytes(columns) - columns));
  }

  private void operand(Frame frame, long elements) {
    frame.bytes(elements * operands.sizeBytes());
  }

  private static void bfloat16(Frame frame, long elements) {
    frame.bytes(elements * DType.BF16.sizeBytes());
  }

  @Override
  public Frame inputFrame(Frame saved, Frame scratch) {
    return scratch;
  }

  @Override
  public void input(Frame saved, Frame scratch, long rows, long columns) {
    codes(saved, rows, columns);
    operand(scratch, rows * columns);
  }

  @Override
  public void forGradient(Frame scratch, long rows, long columns) {
    operand(scratch, rows * columns);
  }

  @Override
  public void again(Frame scratch, long rows, long columns) {
    operand(scratch, rows * columns);
  }

  @Override
  public boolean keepsProducts() {
    return false;
  }

  @Override
  public void keep(Frame saved, long elements) {
    bfloat16(saved, elements);
  }

  @Override
  public void restore(Frame scratch, long elements) {
    scratch.words(elements);
  }

  @Override
  public void projectionBackward(long rows, long columns) {
    for (int direction = 0; direction < 2; direction++) {
      try (Frame scratch = ledger.open()) {
        operand(scratch, rows * columns);
      }
    }
  }

  @Override
  public void head(Frame scratch, long rows, long width, long columns) {
    operand(scratch, rows * width);
    operand(scratch, rows * columns);
  }

  @Override
  public void gate(Frame saved, long rows, long width) {
    saved.words(rows * width);
    try (Frame scratch = ledger.open()) {
      bfloat16(scratch, rows * width);
    }
  }

  @Override
  public void feedForward(Frame saved, long rows, long inner) {
    codes(saved, 2 * rows, inner);
    try (Frame scratch = ledger.open()) {
      operand(scratch, rows * inner);
      try (Frame products = ledger.open()) {
        products.words(2 * rows * inner);
      }
    }
  }

  @Override
  public void feedForwardBackward(long rows, long width, long inner) {
    try (Frame scratch = ledger.open()) {
      for (int operand = 0; operand < 3; operand++) {
        operand(scratch, rows * width);
      }
      networkBackward(rows, inner);
    }
  }

  /** Experts run one by one on their own few rows; only what all of them leave counts. */
  @Override
  public void experts(Frame saved, long rows, long width, long inner) {
    codes(saved, 2 * rows, inner);
    try (Frame scratch = ledger.open()) {
      scratch.words(rows * width);
    }
  }

  @Override
  public void expertsBackward(long arrivals, long rows, long width, long inner) {
    try (Frame scratch = ledger.open()) {
      for (int operand = 0; operand < 2; operand++) {
        operand(scratch, arrivals * width);
      }
      scratch.words(rows * width);
    }
  }

  private void networkBackward(long rows, long inner) {
    try (Frame scratch = ledger.open()) {
      for (int direction = 0; direction < 2; direction++) {
        operand(scratch, 2 * rows * inner);
      }
      try (Frame hidden = ledger.open()) {
        hidden.words(rows * inner);
        operand(hidden, rows * inner);
      }
    }
  }
}
