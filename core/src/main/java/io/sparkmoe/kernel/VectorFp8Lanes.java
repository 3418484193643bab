package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.PowerOfTwoScale;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * One 8-bit format on vectors: runs of elements of one scale, or of one scale a column. Values come
 * from and go to arrays, where a load or store costs one instruction and not fifteen as in a byte
 * buffer; what leaves for a tensor is written once. Finite values, divided by their scale, must be
 * at most the format's largest; others become NaN, one by one.
 *
 * <p>Rounding is one addition. With e the exponent of |v|, or that of the smallest normal value if
 * it is larger, values around |v| are multiples of {@code step = 2^(e - mantissa bits)}. The float
 * {@code 1.5 * 2^23 step} has a last bit worth one step, also after a few steps were added or taken
 * off, so adding it to v rounds v to steps, ties to even; subtracting it leaves the rounded value,
 * and the bits that it changed count the steps.
 */
final class VectorFp8Lanes {

  private static final int SIGN = 0x80000000;
  private static final int MAGNITUDE = 0x7FFFFFFF;
  private static final int EXPONENT = 0x7F800000;
  private static final int MANTISSA_BITS = 23;
  private static final int TILE = Fp8Granularity.SCALE_COLUMNS;
  private static final int PAIR = 2 * Lanes.LENGTH;
  private static final int HALF = 1 << (MANTISSA_BITS - 1);

  /** Bits of a code without sign. */
  private static final int CODE = 0x7F;

  private final Fp8Format format;
  private final int mantissaBits;

  /** Bits of the smallest normal value as a float. */
  private final int normalBits;

  /** What turns an exponent into 1.5 * 2^23 steps. */
  private final int stepExponent;

  /** What the exponent bits of 1.5 * 2^23 steps count too much in a code. */
  private final int codeOffset;

  /** What takes a code from the top of an int, with its sign spread, to its place in a float. */
  private final int codeShift;

  /** The bits of sign, exponent and mantissa there. */
  private final int codeMask;

  /** What a float with a code's exponent lacks. */
  private final float exponentFactor;

  private final int leastFittingScale;

  private final int leastScaleInPlace;

  private final int largestScaleInPlace;

  /** Smallest code without sign that is no finite number. */
  private final int firstSpecial;

  VectorFp8Lanes(Fp8Format format) {
    this.format = format;
    mantissaBits = format.mantissaBits();
    float normal = format.smallestNormal();
    normalBits = Float.floatToRawIntBits(normal);
    stepExponent = ((MANTISSA_BITS - mantissaBits) << MANTISSA_BITS) + HALF;
    codeOffset = (normalBits + stepExponent) >>> (MANTISSA_BITS - mantissaBits);
    codeShift = mantissaBits + 1;
    codeMask = SIGN | CODE << (MANTISSA_BITS - mantissaBits);
    exponentFactor = Math.scalb(normal, Float.MAX_EXPONENT - 1);
    leastFittingScale = mantissaBits - Math.getExponent(normal) - 6;
    leastScaleInPlace = 1 - Math.getExponent(normal);
    largestScaleInPlace =
        2 * Float.MAX_EXPONENT
            - Math.getExponent(format.largest())
            - (MANTISSA_BITS - mantissaBits);
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
   * @param finite whether all of x is
   */
  void round(
      boolean bfloat16,
      ByteBuffer to,
      int toIndex,
      float[] x,
      int index,
      int count,
      byte scale,
      boolean finite) {
    IntVector normals = VectorMath.splat(normal(scale)).reinterpretAsInts();
    int bound = bound(count, finite && roundsInPlace(scale));
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      Lanes.storeBits(bfloat16, to, toIndex + i, rounded(Lanes.load(x, index + i), normals));
    }
    for (int i = bound; i < count; i++) {
      Lanes.set(bfloat16, to, toIndex + i, rounded(x[index + i], scale));
    }
  }

  /**
   * {@code codes = round(x / scale)}.
   *
   * @param finite whether all of x is
   */
  void encode(
      ByteBuffer codes,
      int codesIndex,
      float[] x,
      int index,
      int count,
      byte scale,
      boolean finite) {
    float inverse = PowerOfTwoScale.reciprocal(scale);
    int bound = bound(count, finite);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      Lanes.storeLowBytes(codes, codesIndex + i, codes(Lanes.load(x, index + i).mul(inverse)));
    }
    for (int i = bound; i < count; i++) {
      codes.put(codesIndex + i, format.encodeOrNan(x[index + i] * inverse));
    }
  }

  /** {@code x = code * scale}. */
  void decode(float[] x, int index, ByteBuffer codes, int codesIndex, int count, byte scale) {
    float factor = PowerOfTwoScale.value(scale);
    int bound = Lanes.FLOATS.loopBound(count);
    IntVector largest = IntVector.zero(Lanes.INTS);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      IntVector code = Lanes.loadBytes(codes, codesIndex + i);
      largest = largest.max(code.and(CODE));
      Lanes.store(x, index + i, values(code, factor));
    }
    boolean special = largest.reduceLanes(VectorOperators.MAX) >= firstSpecial;
    for (int i = special ? 0 : bound; i < count; i++) {
      x[index + i] = format.decode(codes.get(codesIndex + i)) * factor;
    }
  }

  /**
   * As {@link #decode(float[], int, ByteBuffer, int, int, byte)}, to a tensor.
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
    IntVector largest = IntVector.zero(Lanes.INTS);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      IntVector code = Lanes.loadBytes(codes, codesIndex + i);
      largest = largest.max(code.and(CODE));
      Lanes.storeBits(bfloat16, x, index + i, values(code, factor).reinterpretAsInts());
    }
    boolean special = largest.reduceLanes(VectorOperators.MAX) >= firstSpecial;
    for (int i = special ? 0 : bound; i < count; i++) {
      Lanes.set(bfloat16, x, index + i, format.decode(codes.get(codesIndex + i)) * factor);
    }
  }

  /**
   * Whether every value of this scale is a BF16 number, so that cutting off the lower half of a
   * float rounds nothing: its smallest step is at least BF16's smallest number.
   */
  private boolean fitsBfloat16(byte scale) {
    return (scale & 0xFF) >= leastFittingScale;
  }

  /** The smallest normal value of this scale. */
  float normal(byte scale) {
    return format.smallestNormal() * PowerOfTwoScale.value(scale);
  }

  /**
   * Whether that and the largest value's 1.5 * 2^23 steps are normal floats. All values of such a
   * scale are BF16 numbers.
   */
  boolean roundsInPlace(byte scale) {
    int exponent = scale & 0xFF;
    return exponent >= leastScaleInPlace && exponent <= largestScaleInPlace;
  }

  private static int bound(int count, boolean vectors) {
    return vectors ? Lanes.FLOATS.loopBound(count) : 0;
  }

  // ---- one scale a column

  /**
   * {@link #round} of rows with the scale of every column.
   *
   * @param bfloat16 whether {@code to} is BF16, not F32
   * @param toStride elements from row to row
   * @param x row r starts at element {@code r * 128}
   * @param scales of the columns
   * @param normals their {@link #normal}
   * @param plain whether all of x is finite and {@link #roundsInPlace} of all scales
   */
  void roundColumns(
      boolean bfloat16,
      ByteBuffer to,
      int toIndex,
      int toStride,
      float[] x,
      int rows,
      int count,
      byte[] scales,
      float[] normals,
      boolean plain) {
    int bound = bound(count, plain);
    // Two vectors of BF16 are a cache line, which a stride of whole pages would see evicted
    // between its halves.
    int pairs = bound / PAIR * PAIR;
    for (int i = 0; i < pairs; i += PAIR) {
      int next = i + Lanes.LENGTH;
      IntVector normal = Lanes.load(normals, i).reinterpretAsInts();
      IntVector nextNormal = Lanes.load(normals, next).reinterpretAsInts();
      for (int r = 0; r < rows; r++) {
        int from = r * TILE;
        int at = toIndex + r * toStride;
        IntVector bits = rounded(Lanes.load(x, from + i), normal);
        IntVector nextBits = rounded(Lanes.load(x, from + next), nextNormal);
        Lanes.storeBits(bfloat16, to, at + i, bits);
        Lanes.storeBits(bfloat16, to, at + next, nextBits);
      }
    }
    for (int i = pairs; i < bound; i += Lanes.LENGTH) {
      IntVector normal = Lanes.load(normals, i).reinterpretAsInts();
      for (int r = 0; r < rows; r++) {
        IntVector bits = rounded(Lanes.load(x, r * TILE + i), normal);
        Lanes.storeBits(bfloat16, to, toIndex + r * toStride + i, bits);
      }
    }
    for (int r = 0; r < rows; r++) {
      for (int i = bound; i < count; i++) {
        float value = rounded(x[r * TILE + i], scales[i]);
        Lanes.set(bfloat16, to, toIndex + r * toStride + i, value);
      }
    }
  }

  // ---- a vector

  /**
   * Bits of the finite x rounded to steps of its scale, without dividing by it: a power of two
   * moves the smallest normal value, nothing else.
   */
  private IntVector rounded(FloatVector x, IntVector normals) {
    IntVector bits = x.reinterpretAsInts();
    FloatVector steps = steps(bits, normals).reinterpretAsFloats();
    FloatVector nearest = x.add(steps).sub(steps);
    // What rounds to zero keeps its sign.
    return nearest.reinterpretAsInts().or(bits.and(SIGN));
  }

  private float rounded(float value, byte scale) {
    float code = format.decode(format.encodeOrNan(value * PowerOfTwoScale.reciprocal(scale)));
    return code * PowerOfTwoScale.value(scale);
  }

  /** Codes of v, which is finite, in the low bytes. */
  private IntVector codes(FloatVector v) {
    IntVector bits = v.reinterpretAsInts();
    IntVector steps = steps(bits, IntVector.broadcast(Lanes.INTS, normalBits));
    IntVector sum =
        bits.and(MAGNITUDE)
            .reinterpretAsFloats()
            .add(steps.reinterpretAsFloats())
            .reinterpretAsInts();
    // The number of steps, and the mantissa's whole turns that the exponent stands for.
    return sum.sub(steps)
        .add(steps.lanewise(VectorOperators.LSHR, MANTISSA_BITS - mantissaBits))
        .sub(codeOffset)
        .or(bits.lanewise(VectorOperators.LSHR, 24).and(0x80));
  }

  /** Bits of 1.5 * 2^23 steps around a finite value. */
  private IntVector steps(IntVector bits, IntVector normals) {
    return bits.and(EXPONENT).max(normals).add(stepExponent);
  }

  /**
   * Values of codes in the low bytes, which are finite. Exponent and mantissa of a code are those
   * of a float 2^(127 - bias) times smaller, subnormal ones too.
   */
  private FloatVector values(IntVector codes, float factor) {
    return codes
        .lanewise(VectorOperators.LSHL, Integer.SIZE - Byte.SIZE)
        .lanewise(VectorOperators.ASHR, codeShift)
        .and(codeMask)
        .reinterpretAsFloats()
        .mul(exponentFactor)
        .mul(factor);
  }

  // ---- magnitudes

  /** Whether the largest magnitude of some values is a number's, so that all of them are. */
  static boolean finite(int largestBits) {
    return largestBits < EXPONENT;
  }

  /** Bits of the largest magnitude, infinities and NaN included. */
  static int largestBits(float[] x, int index, int count) {
    int bound = Lanes.FLOATS.loopBound(count);
    IntVector largest = IntVector.zero(Lanes.INTS);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      largest = largest.max(magnitude(x, index + i));
    }
    int result = largest.reduceLanes(VectorOperators.MAX);
    for (int i = bound; i < count; i++) {
      result = Math.max(result, Float.floatToRawIntBits(x[index + i]) & MAGNITUDE);
    }
    return result;
  }

  /** Bits of the largest finite magnitude of elements {@code index + i * stride}. */
  static int largestFiniteBits(float[] x, int index, int stride, int count) {
    int result = 0;
    for (int i = 0; i < count; i++) {
      int magnitude = Float.floatToRawIntBits(x[index + i * stride]) & MAGNITUDE;
      result = magnitude < EXPONENT ? Math.max(result, magnitude) : result;
    }
    return result;
  }

  /**
   * Bits of the largest magnitude of every column, infinities and NaN included, as floats.
   *
   * @param largest written
   * @param x row r starts at element {@code r * 128}
   */
  static void largestOfColumns(float[] largest, float[] x, int rows, int count) {
    int bound = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      IntVector result = IntVector.zero(Lanes.INTS);
      for (int r = 0; r < rows; r++) {
        result = result.max(magnitude(x, r * TILE + i));
      }
      Lanes.store(largest, i, result.reinterpretAsFloats());
    }
    for (int i = bound; i < count; i++) {
      int result = 0;
      for (int r = 0; r < rows; r++) {
        result = Math.max(result, Float.floatToRawIntBits(x[r * TILE + i]) & MAGNITUDE);
      }
      largest[i] = Float.intBitsToFloat(result);
    }
  }

  private static IntVector magnitude(float[] x, int index) {
    return Lanes.load(x, index).reinterpretAsInts().and(MAGNITUDE);
  }
}
