package io.sparkmoe.tensor;

/**
 * UE8M0: a scale that is a power of two in one byte, {@code scale = 2^(byte - 127)}. Dividing by it
 * is exact, so a value quantised with it loses only what its FP8 code rounds off, and a dequantised
 * value is exactly a BF16 number.
 *
 * <p>Bytes 1 to 254 are used: scale and reciprocal are then both normal floats.
 */
public final class PowerOfTwoScale {

  private static final int BIAS = 127;
  private static final int SMALLEST = 1;
  private static final int MANTISSA_BITS = 23;
  private static final int MANTISSA = (1 << MANTISSA_BITS) - 1;

  private PowerOfTwoScale() {}

  /**
   * The byte of the smallest power of two that is at least {@code largestMagnitude /
   * formatLargest}. Nothing is clamped from below except at 2^-126, so tiny gradients keep their
   * relative precision; magnitude zero gives scale 1.
   *
   * @param largestMagnitude of the values that share the scale, finite and >= 0
   */
  public static byte of(float largestMagnitude, Fp8Format format) {
    if (largestMagnitude == 0) {
      return BIAS;
    }
    int bits = Float.floatToRawIntBits(largestMagnitude / format.largest());
    int exponent = (bits >>> MANTISSA_BITS) + ((bits & MANTISSA) == 0 ? 0 : 1);
    return (byte) Math.max(exponent, SMALLEST);
  }

  /** The scale. */
  public static float value(byte scale) {
    return Float.intBitsToFloat((scale & 0xFF) << MANTISSA_BITS);
  }

  /** One divided by the scale. */
  public static float reciprocal(byte scale) {
    return Float.intBitsToFloat((2 * BIAS - (scale & 0xFF)) << MANTISSA_BITS);
  }
}
