package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.PowerOfTwoScale;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * One 8-bit format on vectors: runs of elements of one scale, or of one scale a column. Finite
 * values, divided by their scale, must be at most the format's largest; others become NaN.
 *
 * <p>Rounding is one addition. With e the exponent of |v|, or that of the smallest normal value if
 * it is larger, values around |v| are multiples of {@code step = 2^(e - mantissa bits)}. The float
 * {@code 2^23 step} has a last bit worth one step, so adding it to |v| rounds |v| to steps, ties to
 * even; subtracting it leaves the rounded value, and the bits that it changed count the steps.
 */
final class VectorFp8Lanes {

  private static final int SIGN = 0x80000000;
  private static final int MAGNITUDE = 0x7FFFFFFF;
  private static final int EXPONENT = 0x7F800000;
  private static final int MANTISSA_BITS = 23;
  private static final int NAN = 0x7FC00000;

  /** Bits of a code without sign. */
  private static final int CODE = 0x7F;

  private final Fp8Format format;
  private final int mantissaBits;

  /** Bits of the smallest normal value as a float. */
  private final int normalBits;

  /** What turns an exponent into that of 2^23 steps. */
  private final int stepExponent;

  /** What the exponent bits of 2^23 steps count too much in a code. */
  private final int codeOffset;

  /** What an exponent in a code lacks to one in a float. */
  private final int biasBits;

  private final float normal;

  private final int leastFittingScale;

  /** Smallest code without sign that is no finite number. */
  private final int firstSpecial;

  VectorFp8Lanes(Fp8Format format) {
    this.format = format;
    mantissaBits = format.mantissaBits();
    normal = format.smallestNormal();
    normalBits = Float.floatToRawIntBits(normal);
    stepExponent = (MANTISSA_BITS - mantissaBits) << MANTISSA_BITS;
    codeOffset = (normalBits + stepExponent) >>> (MANTISSA_BITS - mantissaBits);
    biasBits = normalBits - (1 << MANTISSA_BITS);
    leastFittingScale = mantissaBits - Math.getExponent(normal) - 6;
    firstSpecial = format == Fp8Format.E4M3 ? CODE : 0x7C;
  }

  /** The format. */
  Fp8Format format() {
    return format;
  }

  // ---- one scale

  /**
   * {@code to = round(x / scale) * scale}.
   *
   * @param bfloat16 whether {@code to} is BF16, not F32
   */
  void round(
      boolean bfloat16,
      ByteBuffer to,
      int toIndex,
      ByteBuffer x,
      int index,
      int count,
      byte scale) {
    float factor = PowerOfTwoScale.value(scale);
    float inverse = PowerOfTwoScale.reciprocal(scale);
    FloatVector factors = VectorMath.splat(factor);
    int bound = bound(count, !bfloat16 || fitsBfloat16(scale));
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      IntVector bits = rounded(Lanes.load(x, index + i).mul(inverse), factors);
      Lanes.storeBits(bfloat16, to, toIndex + i, bits);
    }
    for (int i = bound; i < count; i++) {
      Lanes.set(bfloat16, to, toIndex + i, rounded(Lanes.get(x, index + i), inverse, factor));
    }
  }

  /** {@code codes = round(x / scale)}. */
  void encode(ByteBuffer codes, int codesIndex, ByteBuffer x, int index, int count, byte scale) {
    float inverse = PowerOfTwoScale.reciprocal(scale);
    int bound = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      Lanes.storeLowBytes(codes, codesIndex + i, codes(Lanes.load(x, index + i).mul(inverse)));
    }
    for (int i = bound; i < count; i++) {
      codes.put(codesIndex + i, format.encodeOrNan(Lanes.get(x, index + i) * inverse));
    }
  }

  /**
   * {@code x = code * scale}.
   *
   * @param bfloat16 whether {@code x} is BF16, not F32
   */
  void decode(
      boolean bfloat16,
      ByteBuffer x,
      int index,
      ByteBuffer codes,
      int codesIndex,
      int count,
      byte scale) {
    float factor = PowerOfTwoScale.value(scale);
    int bound = bound(count, !bfloat16 || fitsBfloat16(scale));
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector values = values(Lanes.loadBytes(codes, codesIndex + i)).mul(factor);
      Lanes.storeBits(bfloat16, x, index + i, values.reinterpretAsInts());
    }
    for (int i = bound; i < count; i++) {
      Lanes.set(bfloat16, x, index + i, format.decode(codes.get(codesIndex + i)) * factor);
    }
  }

  /**
   * Whether every value of this scale is a BF16 number, so that cutting off the lower half of a
   * float rounds nothing: its smallest step is at least BF16's smallest number.
   */
  boolean fitsBfloat16(byte scale) {
    return (scale & 0xFF) >= leastFittingScale;
  }

  private static int bound(int count, boolean vectors) {
    return vectors ? Lanes.FLOATS.loopBound(count) : 0;
  }

  // ---- one scale a column

  /**
   * {@link #round} with the scale of every column.
   *
   * @param bfloat16 whether {@code to} is BF16, not F32
   * @param fit whether all scales are {@link #fitsBfloat16}
   */
  void roundColumns(
      boolean bfloat16,
      ByteBuffer to,
      int toIndex,
      ByteBuffer x,
      int index,
      int count,
      ByteBuffer inverses,
      ByteBuffer factors,
      boolean fit) {
    int bound = bound(count, !bfloat16 || fit);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector v = Lanes.load(x, index + i).mul(Lanes.load(inverses, i));
      Lanes.storeBits(bfloat16, to, toIndex + i, rounded(v, Lanes.load(factors, i)));
    }
    for (int i = bound; i < count; i++) {
      float value = rounded(Lanes.get(x, index + i), Lanes.get(inverses, i), Lanes.get(factors, i));
      Lanes.set(bfloat16, to, toIndex + i, value);
    }
  }

  // ---- a vector

  /** Bits of the rounded v times the factor. */
  private IntVector rounded(FloatVector v, FloatVector factor) {
    IntVector bits = v.reinterpretAsInts();
    IntVector magnitude = bits.and(MAGNITUDE);
    FloatVector steps = steps(magnitude).reinterpretAsFloats();
    FloatVector nearest = magnitude.reinterpretAsFloats().add(steps).sub(steps).mul(factor);
    IntVector finite = finite(magnitude);
    return choose(finite, nearest.reinterpretAsInts(), NAN).or(bits.and(SIGN));
  }

  private float rounded(float value, float inverse, float factor) {
    return format.decode(format.encodeOrNan(value * inverse)) * factor;
  }

  /** Codes of v in the low bytes. */
  private IntVector codes(FloatVector v) {
    IntVector bits = v.reinterpretAsInts();
    IntVector magnitude = bits.and(MAGNITUDE);
    IntVector steps = steps(magnitude);
    IntVector sum =
        magnitude.reinterpretAsFloats().add(steps.reinterpretAsFloats()).reinterpretAsInts();
    // The number of steps, and the mantissa's whole turns that the exponent stands for.
    IntVector code =
        sum.sub(steps)
            .add(steps.lanewise(VectorOperators.LSHR, MANTISSA_BITS - mantissaBits))
            .sub(codeOffset);
    return choose(finite(magnitude), code, CODE)
        .or(bits.lanewise(VectorOperators.LSHR, 24).and(0x80));
  }

  /** All bits of a lane where the magnitude is finite, none where it is not. */
  private static IntVector finite(IntVector magnitude) {
    return magnitude.sub(EXPONENT).lanewise(VectorOperators.ASHR, Integer.SIZE - 1);
  }

  private static IntVector choose(IntVector where, IntVector value, int otherwise) {
    return value.and(where).or(where.not().and(otherwise));
  }

  /** Bits of 2^23 steps around a magnitude. */
  private IntVector steps(IntVector magnitude) {
    return magnitude.and(EXPONENT).max(normalBits).add(stepExponent);
  }

  /** Values of codes, which come with their sign extended. */
  private FloatVector values(IntVector codes) {
    IntVector code = codes.and(CODE);
    IntVector bits =
        code.lanewise(VectorOperators.LSHL, MANTISSA_BITS - mantissaBits).add(biasBits);
    VectorMask<Integer> subnormal = code.compare(VectorOperators.LT, 1 << mantissaBits);
    VectorMask<Integer> special = code.compare(VectorOperators.GE, firstSpecial);
    // With the exponent of the smallest normal number, a subnormal one is too large by that number.
    FloatVector below = bits.add(1 << MANTISSA_BITS).reinterpretAsFloats().sub(normal);
    return bits.blend(bits.or(EXPONENT), special)
        .blend(below.reinterpretAsInts(), subnormal)
        .or(codes.and(SIGN))
        .reinterpretAsFloats();
  }

  // ---- magnitudes

  /** Bits of the largest finite magnitude. */
  static int largestBits(ByteBuffer x, int index, int count) {
    int bound = Lanes.FLOATS.loopBound(count);
    IntVector largest = IntVector.zero(Lanes.INTS);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      largest = largest.max(magnitude(x, index + i));
    }
    int result = largest.reduceLanes(VectorOperators.MAX);
    for (int i = bound; i < count; i++) {
      result = Math.max(result, magnitude(Lanes.get(x, index + i)));
    }
    // Infinities and NaN are larger than all numbers; a second look leaves them out.
    return result < EXPONENT ? result : largestFiniteBits(x, index, count);
  }

  private static int largestFiniteBits(ByteBuffer x, int index, int count) {
    int result = 0;
    for (int i = 0; i < count; i++) {
      int magnitude = magnitude(Lanes.get(x, index + i));
      result = magnitude < EXPONENT ? Math.max(result, magnitude) : result;
    }
    return result;
  }

  /**
   * Bits of the largest finite magnitude of every column.
   *
   * @param largest written
   * @param x F32; row r starts at element {@code index + r * stride}
   */
  static void largestBitsOfColumns(
      ByteBuffer largest, ByteBuffer x, int index, int stride, int rows, int count) {
    Lanes.clear(largest, 0, count);
    int r = 0;
    for (; r + 4 <= rows; r += 4) {
      raiseByFour(largest, x, index + r * stride, stride, count);
    }
    for (; r < rows; r++) {
      raise(largest, x, index + r * stride, count);
    }
    if (!hasSpecial(largest, count)) {
      return;
    }
    Lanes.clear(largest, 0, count);
    for (r = 0; r < rows; r++) {
      for (int i = 0; i < count; i++) {
        int at = index + r * stride + i;
        int finite = largestFiniteBits(x, at, 1);
        largest.putInt(i * Integer.BYTES, Math.max(largest.getInt(i * Integer.BYTES), finite));
      }
    }
  }

  private static boolean hasSpecial(ByteBuffer largest, int count) {
    for (int i = 0; i < count; i++) {
      if (largest.getInt(i * Integer.BYTES) >= EXPONENT) {
        return true;
      }
    }
    return false;
  }

  /** {@code largest[i] = max(largest[i], |x[i]|)} as bits. */
  private static void raise(ByteBuffer largest, ByteBuffer x, int index, int count) {
    int bound = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      Lanes.storeInts(largest, i, Lanes.loadInts(largest, i).max(magnitude(x, index + i)));
    }
    raiseFrom(bound, largest, x, index, count);
  }

  /** {@link #raise} from column {@code first} on, one by one. */
  private static void raiseFrom(int first, ByteBuffer largest, ByteBuffer x, int index, int count) {
    for (int i = first; i < count; i++) {
      int at = i * Integer.BYTES;
      largest.putInt(at, Math.max(largest.getInt(at), magnitude(Lanes.get(x, index + i))));
    }
  }

  /** {@link #raise} by four rows, for one look at the largest so far. */
  private static void raiseByFour(
      ByteBuffer largest, ByteBuffer x, int index, int stride, int count) {
    int bound = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      int at = index + i;
      IntVector first = magnitude(x, at).max(magnitude(x, at + stride));
      IntVector second = magnitude(x, at + 2 * stride).max(magnitude(x, at + 3 * stride));
      Lanes.storeInts(largest, i, Lanes.loadInts(largest, i).max(first).max(second));
    }
    for (int r = 0; r < 4; r++) {
      raiseFrom(bound, largest, x, index + r * stride, count);
    }
  }

  private static IntVector magnitude(ByteBuffer x, int index) {
    return Lanes.loadInts(x, index).and(MAGNITUDE);
  }

  private static int magnitude(float x) {
    return Float.floatToRawIntBits(x) & MAGNITUDE;
  }
}
