package io.sparkmoe.kernel;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Functions of whole vectors. The scalar forms serve loop tails and give the bits of a lane, so
 * that a result does not depend on where its row ends up in a batch.
 */
final class VectorMath {

  /**
   * 1.5 * 2^23: adding it rounds a small float to an integer that then sits in the low mantissa
   * bits. A float to int conversion would do the same, but is not compiled to an instruction on JDK
   * 17.
   */
  private static final float ROUND = 0x1.8p23f;

  private static final float LOG2_E = 1.44269504f;

  /**
   * ln 2 in two parts, the first exact in few bits, so that r keeps full precision (Cody and
   * Waite).
   */
  private static final float LN2_HIGH = 0.693359375f;

  private static final float LN2_LOW = -2.12194440e-4f;

  /** Between these the result is a normal float. */
  private static final float EXP_LOWEST = -86.6f;

  private static final float EXP_LARGEST = 88.3f;

  // Coefficients of e^r from r^7 down to r^2; those of r and 1 are 1.
  private static final float P7 = 1.9875691500e-4f;
  private static final float P6 = 1.3981999507e-3f;
  private static final float P5 = 8.3334519073e-3f;
  private static final float P4 = 4.1665795894e-2f;
  private static final float P3 = 1.6666665459e-1f;
  private static final float P2 = 5.0000001201e-1f;

  private VectorMath() {}

  static FloatVector splat(float value) {
    return FloatVector.broadcast(Lanes.FLOATS, value);
  }

  static FloatVector splat(double value) {
    return FloatVector.broadcast(Lanes.FLOATS, (float) value);
  }

  static FloatVector zero() {
    return FloatVector.zero(Lanes.FLOATS);
  }

  /** a b + c. */
  static FloatVector fma(FloatVector a, FloatVector b, FloatVector c) {
    return a.fma(b, c);
  }

  /**
   * e^x to about one unit in the last place, saturating outside [-86.6, 88.3]: e^x = 2^n e^r with n
   * = round(x / ln 2), and a polynomial for e^r (Moshier, Cephes expf).
   */
  static FloatVector exp(FloatVector x) {
    FloatVector bounded = x.max(EXP_LOWEST).min(EXP_LARGEST);
    FloatVector shifted = bounded.fma(splat(LOG2_E), splat(ROUND));
    FloatVector n = shifted.sub(ROUND);
    FloatVector r = n.fma(splat(-LN2_LOW), n.fma(splat(-LN2_HIGH), bounded));
    FloatVector p = splat(P7);
    p = p.fma(r, splat(P6));
    p = p.fma(r, splat(P5));
    p = p.fma(r, splat(P4));
    p = p.fma(r, splat(P3));
    p = p.fma(r, splat(P2));
    p = p.mul(r).fma(r, r.add(1));
    // The low bits of shifted hold n; adding them to p's exponent multiplies by 2^n.
    return p.reinterpretAsInts()
        .add(shifted.reinterpretAsInts().lanewise(VectorOperators.LSHL, 23))
        .reinterpretAsFloats();
  }

  /** 1 / (1 + e^-x). */
  static FloatVector sigmoid(FloatVector x) {
    return splat(1).div(exp(x.neg()).add(1));
  }

  /** As {@link #exp(FloatVector)}, operation by operation. */
  static float exp(float x) {
    float bounded = Math.min(Math.max(x, EXP_LOWEST), EXP_LARGEST);
    float shifted = Math.fma(bounded, LOG2_E, ROUND);
    float n = shifted - ROUND;
    float r = Math.fma(n, -LN2_LOW, Math.fma(n, -LN2_HIGH, bounded));
    float p = Math.fma(P7, r, P6);
    p = Math.fma(p, r, P5);
    p = Math.fma(p, r, P4);
    p = Math.fma(p, r, P3);
    p = Math.fma(p, r, P2);
    p = Math.fma(p * r, r, r + 1);
    return Float.intBitsToFloat(
        Float.floatToRawIntBits(p) + (Float.floatToRawIntBits(shifted) << 23));
  }

  static float sigmoid(float x) {
    return 1 / (exp(-x) + 1);
  }

  /** Sum of the lanes from first to last; the API's own reduction leaves the order open. */
  static float sum(FloatVector x) {
    float sum = 0;
    for (float lane : x.toArray()) {
      sum += lane;
    }
    return sum;
  }

  /** Largest lane. */
  static float max(FloatVector x) {
    return x.reduceLanes(VectorOperators.MAX);
  }
}
