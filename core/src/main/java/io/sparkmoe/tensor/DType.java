package io.sparkmoe.tensor;

/**
 * Element type of a {@link Tensor}; {@code F64} exists for gradient checks, which run the same
 * model in double.
 */
public enum DType {
  F64(8),
  F32(4),
  BF16(2),
  U8(1),
  I32(4);

  private final int sizeBytes;

  DType(int sizeBytes) {
    this.sizeBytes = sizeBytes;
  }

  /** Bytes of one element. */
  public int sizeBytes() {
    return sizeBytes;
  }

  /** Whether elements are real numbers that {@link Tensor#get} reads as their value. */
  public boolean isFloating() {
    return this == F64 || this == F32 || this == BF16;
  }
}
