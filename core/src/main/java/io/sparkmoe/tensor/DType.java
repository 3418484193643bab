package io.sparkmoe.tensor;

/**
 * Element type of a {@link Tensor}. {@code F64} exists for gradient checks, which run the same
 * model in double; the two 8-bit formats are {@link Fp8Format}'s, whose codes usually stand beside
 * scales in another tensor.
 */
public enum DType {
  F64(8),
  F32(4),
  BF16(2),
  F8_E4M3(1),
  F8_E5M2(1),
  U8(1),
  I32(4);

  private final int sizeBytes;

  DType(int sizeBytes) {
    this.sizeBytes = sizeBytes;
  }

  /** The 8-bit format of the elements; throws for other types. */
  public Fp8Format fp8Format() {
    return switch (this) {
      case F8_E4M3 -> Fp8Format.E4M3;
      case F8_E5M2 -> Fp8Format.E5M2;
      default ->
          throw new IllegalArgumentException(
              "an element type of 8-bit floats must be F8_E4M3 or F8_E5M2, got " + this);
    };
  }

  /** Bytes of one element. */
  public int sizeBytes() {
    return sizeBytes;
  }

  /** Whether elements are real numbers that {@link Tensor#get} reads as their value. */
  public boolean isFloating() {
    return this != U8 && this != I32;
  }
}
