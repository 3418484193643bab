package io.sparkmoe.tensor;

import java.nio.ByteBuffer;

/**
 * BF16 elements that are the lower or the upper halves of an I32 tensor's, and its memory. Two BF16
 * numbers that are always used together lie in one 32-bit lane of a vector so: taking them out and
 * putting them back are shifts, not conversions between vectors of two sizes.
 */
public final class Bfloat16Half implements Elements {

  private final Tensor pairs;
  private final int offsetBytes;

  private Bfloat16Half(Tensor pairs, int offsetBytes) {
    if (pairs.type() != DType.I32) {
      throw new IllegalArgumentException("pairs of BF16 are I32, got " + pairs);
    }
    this.pairs = pairs;
    this.offsetBytes = offsetBytes;
  }

  /** The lower 16 bits of every element. */
  public static Bfloat16Half lower(Tensor pairs) {
    return new Bfloat16Half(pairs, 0);
  }

  /** The upper 16 bits of every element. */
  public static Bfloat16Half upper(Tensor pairs) {
    return new Bfloat16Half(pairs, Short.BYTES);
  }

  @Override
  public DType type() {
    return DType.BF16;
  }

  @Override
  public int[] shape() {
    return pairs.shape();
  }

  @Override
  public int size() {
    return pairs.size();
  }

  @Override
  public double get(int index) {
    return Bfloat16.decode(pairs.bytes().getShort(at(index)));
  }

  @Override
  public void set(int index, double value) {
    pairs.bytes().putShort(at(index), Bfloat16.encode((float) value));
  }

  @Override
  public void copyTo(byte[] bytes, int index, int count) {
    ByteBuffer to = ByteBuffer.wrap(bytes).order(pairs.bytes().order());
    for (int i = 0; i < count; i++) {
      to.putShort(i * Short.BYTES, pairs.bytes().getShort(at(index + i)));
    }
  }

  @Override
  public void copyFrom(byte[] bytes, int index, int count) {
    ByteBuffer from = ByteBuffer.wrap(bytes).order(pairs.bytes().order());
    for (int i = 0; i < count; i++) {
      pairs.bytes().putShort(at(index + i), from.getShort(i * Short.BYTES));
    }
  }

  /** Where an element lies on a little-endian machine, the only ones that we store tensors of. */
  private int at(int index) {
    return index * Integer.BYTES + offsetBytes;
  }

  @Override
  public String toString() {
    return type() + " half of " + pairs;
  }
}
