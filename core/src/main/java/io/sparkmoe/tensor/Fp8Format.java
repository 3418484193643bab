package io.sparkmoe.tensor;

/**
 * The two 8-bit floating-point formats of [1]: sign, exponent, mantissa, most significant bit
 * first.
 *
 * <pre>
 * E4M3  s eeee mmm   bias  7, largest   448, smallest 2^-9,  no infinity, NaN = s.1111.111
 * E5M2  s eeeee mm   bias 15, largest 57344, smallest 2^-16, infinity = s.11111.00,
 *                                                           NaN = s.11111.{01,10,11}
 * </pre>
 *
 * E4M3 has one more bit of precision and, with one scale per tile of 128 values, range enough: it
 * carries the inputs of all matrix products and everything on the wire [2]. E5M2 is for import and
 * export.
 *
 * <p>Encoding rounds to nearest, ties to even, and saturates on purpose: what lies beyond the
 * largest value, infinity included, becomes the largest value of its sign. NaN becomes NaN (code
 * 0x7F or 0xFF), zero keeps its sign.
 *
 * <p>[1] Micikevicius et al., FP8 Formats for Deep Learning, 2022, section 3. [2] DeepSeek-V3
 * technical report, section 3.3.2.
 */
public enum Fp8Format {
  E4M3(3, 7, 448f, 0x7F),
  E5M2(2, 15, 57344f, 0x7C);

  private static final int SIGN = 0x80;
  private static final int NAN = 0x7F;
  private static final int FLOAT_MANTISSA_BITS = 23;
  private static final int FLOAT_BIAS = 127;
  private static final int FLOAT_INFINITY = 0x7F800000;
  private static final int FLOAT_MAGNITUDE = 0x7FFFFFFF;

  private final int mantissaBits;
  private final int bias;
  private final float largest;

  /** Bits of {@link #largest} as a float. */
  private final int largestBits;

  /**
   * Bits of the smallest normal value as a float; below it all values are multiples of one step.
   */
  private final int normalBits;

  /**
   * A float whose last mantissa bit is worth the subnormal step: adding it rounds a smaller value
   * to that step and leaves the code in the low bits of the sum.
   */
  private final float subnormalMagic;

  private final float[] decoded = new float[256];

  /**
   * @param firstSpecial smallest code without sign that is no finite number
   */
  Fp8Format(int mantissaBits, int bias, float largest, int firstSpecial) {
    this.mantissaBits = mantissaBits;
    this.bias = bias;
    this.largest = largest;
    this.largestBits = Float.floatToRawIntBits(largest);
    this.normalBits = (FLOAT_BIAS + 1 - bias) << FLOAT_MANTISSA_BITS;
    this.subnormalMagic = Math.scalb(1f, FLOAT_MANTISSA_BITS + 1 - bias - mantissaBits);
    boolean infinity = firstSpecial < NAN;
    for (int code = 0; code < SIGN; code++) {
      int exponent = code >> mantissaBits;
      int mantissa = code & ((1 << mantissaBits) - 1);
      float value =
          exponent == 0
              ? Math.scalb((float) mantissa, 1 - bias - mantissaBits)
              : Math.scalb(
                  (float) ((1 << mantissaBits) + mantissa), exponent - bias - mantissaBits);
      if (code >= firstSpecial) {
        value = infinity && code == firstSpecial ? Float.POSITIVE_INFINITY : Float.NaN;
      }
      decoded[code] = value;
      decoded[code | SIGN] = -value;
    }
  }

  /** Element type of tensors that hold codes of this format. */
  public DType type() {
    return this == E4M3 ? DType.F8_E4M3 : DType.F8_E5M2;
  }

  /** Largest finite value. */
  public float largest() {
    return largest;
  }

  /** Bits of the mantissa, without the leading one. */
  public int mantissaBits() {
    return mantissaBits;
  }

  /** Smallest value of full precision; below it all values are multiples of one step. */
  public float smallestNormal() {
    return Float.intBitsToFloat(normalBits);
  }

  /**
   * The code of a value that was scaled to fit: as {@link #encode(float)}, but an infinity becomes
   * NaN, so that a diverged value is still seen.
   */
  public byte encodeOrNan(float value) {
    int bits = Float.floatToRawIntBits(value);
    return (bits & FLOAT_MAGNITUDE) < FLOAT_INFINITY
        ? encode(value)
        : (byte) (NAN | (bits >>> 24) & SIGN);
  }

  /** The code of a value; see the class comment for rounding, saturation and NaN. */
  public byte encode(float value) {
    int bits = Float.floatToRawIntBits(value);
    int sign = (bits >>> 24) & SIGN;
    int magnitude = bits & FLOAT_MAGNITUDE;
    if (magnitude > FLOAT_INFINITY) {
      return (byte) (sign | NAN);
    }
    if (magnitude < normalBits) {
      float shifted = Float.intBitsToFloat(magnitude) + subnormalMagic;
      return (byte)
          (sign | (Float.floatToRawIntBits(shifted) - Float.floatToRawIntBits(subnormalMagic)));
    }
    magnitude = Math.min(magnitude, largestBits);
    int dropped = FLOAT_MANTISSA_BITS - mantissaBits;
    int even = (magnitude >>> dropped) & 1;
    int rounded = (magnitude + (1 << (dropped - 1)) - 1 + even) >>> dropped;
    return (byte) (sign | (rounded - ((FLOAT_BIAS - bias) << mantissaBits)));
  }

  /** The value of a code. */
  public float decode(byte code) {
    return decoded[code & 0xFF];
  }

  /**
   * Encodes all elements.
   *
   * @param codes U8 or this format's type, written
   * @param values F32, as many elements
   */
  public void encode(Tensor codes, Tensor values) {
    requirePair(codes, values);
    for (int i = 0; i < values.size(); i++) {
      codes.bytes().put(i, encode(values.getFloat(i)));
    }
  }

  /**
   * Decodes all elements.
   *
   * @param values F32, written
   * @param codes U8 or this format's type, as many elements
   */
  public void decode(Tensor values, Tensor codes) {
    requirePair(codes, values);
    for (int i = 0; i < values.size(); i++) {
      values.setFloat(i, decoded[codes.bytes().get(i) & 0xFF]);
    }
  }

  private void requirePair(Tensor codes, Tensor values) {
    boolean bytes = codes.type() == DType.U8 || codes.type() == type();
    if (!bytes || values.type() != DType.F32 || codes.size() != values.size()) {
      throw new IllegalArgumentException(
          this
              + " codes must be U8 or "
              + type()
              + " and values F32 of the same size, got "
              + codes
              + " and "
              + values);
    }
  }
}
