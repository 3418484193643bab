package io.sparkmoe.tensor;

/**
 * BF16: the upper half of a float, {@code s eeeeeeee mmmmmmm}. Encoding rounds to nearest, ties to
 * even; what rounds beyond the largest value becomes infinity, NaN stays NaN.
 */
public final class Bfloat16 {

  private static final int QUIET = 0x40;

  private Bfloat16() {}

  /** The bits of a value. */
  public static short encode(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (value != value) {
      return (short) ((bits >>> 16) | QUIET);
    }
    return (short) ((bits + 0x7FFF + ((bits >>> 16) & 1)) >>> 16);
  }

  /** The value of the bits. */
  public static float decode(short bits) {
    return Float.intBitsToFloat(bits << 16);
  }
}
