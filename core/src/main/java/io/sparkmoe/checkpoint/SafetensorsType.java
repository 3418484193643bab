package io.sparkmoe.checkpoint;

import io.sparkmoe.tensor.DType;

/**
 * Element types of a safetensors file that this program knows, under the names that stand in the
 * file.
 */
public enum SafetensorsType {
  F64(8, DType.F64),
  F32(4, DType.F32),
  BF16(2, DType.BF16),
  /** 16-bit floats of IEEE 754: sign, 5 bits of exponent, 10 of mantissa. */
  F16(2, DType.F32),
  /** Read as I32; values that do not fit are refused. */
  I64(8, DType.I32),
  I32(4, DType.I32),
  /** Read as I32. */
  I16(2, DType.I32),
  U8(1, DType.U8),
  /** 8-bit floats: sign, 4 bits of exponent, 3 of mantissa. */
  F8_E4M3(1, DType.F8_E4M3),
  /** 8-bit floats: sign, 5 bits of exponent, 2 of mantissa. */
  F8_E5M2(1, DType.F8_E5M2),
  /** Powers of two, 2^(byte - 127), as scales of 8-bit floats. */
  F8_E8M0(1, DType.F32);

  private final int sizeBytes;
  private final DType tensorType;

  SafetensorsType(int sizeBytes, DType tensorType) {
    this.sizeBytes = sizeBytes;
    this.tensorType = tensorType;
  }

  /** Bytes of one element in the file. */
  public int sizeBytes() {
    return sizeBytes;
  }

  /** Type of a tensor that holds every value that is read. */
  public DType tensorType() {
    return tensorType;
  }

  /** Whether values mean nothing without a scale from another tensor. */
  boolean isScaled() {
    return this == F8_E4M3 || this == F8_E5M2;
  }

  /** The type that a tensor is written as. */
  static SafetensorsType of(DType type) {
    return switch (type) {
      case F64 -> F64;
      case F32 -> F32;
      case BF16 -> BF16;
      case F8_E4M3 -> F8_E4M3;
      case F8_E5M2 -> F8_E5M2;
      case U8 -> U8;
      case I32 -> I32;
    };
  }
}
