package io.sparkmoe.tensor;

/** An array of one element type, wherever its elements lie. */
public interface Elements {

  /** Type of the elements. */
  DType type();

  /** A copy of the sizes, outermost first. */
  int[] shape();

  /** Number of elements. */
  int size();

  /** Element {@code index} as its value, of any type (U8 unsigned). */
  double get(int index);

  /**
   * Rounds {@code value} to the element type and stores it: to nearest even, beyond the largest
   * value as {@link Bfloat16} and {@link Fp8Format} say.
   */
  void set(int index, double value);

  /**
   * Copies elements in native byte order.
   *
   * @param bytes written from its start
   * @param index first element
   * @param count number of elements
   */
  void copyTo(byte[] bytes, int index, int count);

  /** The reverse of {@link #copyTo}. */
  void copyFrom(byte[] bytes, int index, int count);

  /** Bytes of all elements. */
  default long sizeBytes() {
    return (long) size() * type().sizeBytes();
  }
}
