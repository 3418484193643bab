package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Tiles of {@link PanelMatrix} whose weights are narrower than a float. A 32-bit lane holds the
 * weights of one output for two or four neighbouring inputs, so that decoding shifts and masks
 * within lanes and moves nothing across them. A BF16 value is the upper half of a float. An E4M3
 * code shifted to where a float has its sign, the low end of its exponent and the high end of its
 * mantissa is the code's value times 2^-120, the difference of the two biases; subnormal codes
 * become subnormal floats, so that one exact multiplication decodes all of them.
 *
 * <p>Scales are powers of two and go to the input, which is as exact as a scaled weight. So a sum
 * has the same bits here, over decoded floats ({@link #unpack}), and for any number of rows.
 */
final class VectorPackedPanels {

  /** Rows up to which weights are decoded in registers; more are worth a decoded panel. */
  static final int ROWS = 2;

  private static final int UPPER_HALF = 0xFFFF0000;

  private static final int E4M3_SIGN_EXPONENT_MANTISSA = 0x87F00000;

  private static final int E4M3_SHIFT = 4;

  private static final float E4M3_BIAS = 0x1p120f;

  private VectorPackedPanels() {}

  /**
   * Sums of one or two rows and the outputs [lane, lane + 2 vectors) of a panel.
   *
   * @param sums receives row r's at r * WIDTH + lane
   * @param starts element of x where each row starts
   */
  static void tile(
      float[] sums,
      int lane,
      int rows,
      ByteBuffer x,
      int[] starts,
      PanelMatrix w,
      int matrix,
      int panel) {
    boolean half = w.values().type() == DType.BF16;
    if (rows == 1) {
      if (half) {
        oneBfloat16(sums, lane, x, starts[0], w, w.start(matrix, panel));
      } else {
        oneFp8(sums, lane, x, starts[0], w, matrix, panel);
      }
    } else if (half) {
      twoBfloat16(sums, lane, x, starts, w, w.start(matrix, panel));
    } else {
      twoFp8(sums, lane, x, starts, w, matrix, panel);
    }
  }

  private static void oneBfloat16(
      float[] sums, int lane, ByteBuffer x, int x0, PanelMatrix w, int start) {
    ByteBuffer weights = w.values().bytes();
    FloatVector a = VectorMath.zero();
    FloatVector b = VectorMath.zero();
    int inputs = w.inputs();
    int at = start / 2 + lane;
    int i = 0;
    for (; i + 1 < inputs; i += 2, at += PanelMatrix.WIDTH) {
      IntVector front = Lanes.loadInts(weights, at);
      IntVector back = Lanes.loadInts(weights, at + Lanes.LENGTH);
      FloatVector s0 = VectorMath.splat(Lanes.get(x, x0 + i));
      FloatVector s1 = VectorMath.splat(Lanes.get(x, x0 + i + 1));
      a = VectorMath.fma(s0, lower(front), a);
      b = VectorMath.fma(s0, lower(back), b);
      a = VectorMath.fma(s1, upper(front), a);
      b = VectorMath.fma(s1, upper(back), b);
    }
    if (i < inputs) {
      FloatVector s0 = VectorMath.splat(Lanes.get(x, x0 + i));
      a = VectorMath.fma(s0, lower(Lanes.loadInts(weights, at)), a);
      b = VectorMath.fma(s0, lower(Lanes.loadInts(weights, at + Lanes.LENGTH)), b);
    }
    a.intoArray(sums, lane);
    b.intoArray(sums, lane + Lanes.LENGTH);
  }

  private static void twoBfloat16(
      float[] sums, int lane, ByteBuffer x, int[] starts, PanelMatrix w, int start) {
    ByteBuffer weights = w.values().bytes();
    int x0 = starts[0];
    int x1 = starts[1];
    FloatVector a0 = VectorMath.zero();
    FloatVector b0 = VectorMath.zero();
    FloatVector a1 = VectorMath.zero();
    FloatVector b1 = VectorMath.zero();
    int inputs = w.inputs();
    int at = start / 2 + lane;
    for (int i = 0; i < inputs; i += 2, at += PanelMatrix.WIDTH) {
      IntVector front = Lanes.loadInts(weights, at);
      IntVector back = Lanes.loadInts(weights, at + Lanes.LENGTH);
      FloatVector a = lower(front);
      FloatVector b = lower(back);
      FloatVector s0 = VectorMath.splat(Lanes.get(x, x0 + i));
      FloatVector s1 = VectorMath.splat(Lanes.get(x, x1 + i));
      a0 = VectorMath.fma(s0, a, a0);
      b0 = VectorMath.fma(s0, b, b0);
      a1 = VectorMath.fma(s1, a, a1);
      b1 = VectorMath.fma(s1, b, b1);
      if (i + 1 == inputs) {
        break;
      }
      a = upper(front);
      b = upper(back);
      s0 = VectorMath.splat(Lanes.get(x, x0 + i + 1));
      s1 = VectorMath.splat(Lanes.get(x, x1 + i + 1));
      a0 = VectorMath.fma(s0, a, a0);
      b0 = VectorMath.fma(s0, b, b0);
      a1 = VectorMath.fma(s1, a, a1);
      b1 = VectorMath.fma(s1, b, b1);
    }
    put(sums, lane, a0, b0);
    put(sums, lane + PanelMatrix.WIDTH, a1, b1);
  }

  private static void oneFp8(
      float[] sums, int lane, ByteBuffer x, int x0, PanelMatrix w, int matrix, int panel) {
    ByteBuffer weights = w.values().bytes();
    FloatVector a = VectorMath.zero();
    FloatVector b = VectorMath.zero();
    int inputs = w.inputs();
    int at = w.start(matrix, panel) / 4 + lane;
    for (int block = 0, i = 0; i < inputs; block++) {
      float scale = w.scale(matrix, panel, block);
      int end = Math.min(inputs, i + PanelMatrix.SCALE_INPUTS);
      for (; i + 3 < end; i += 4, at += PanelMatrix.WIDTH) {
        IntVector front = Lanes.loadInts(weights, at);
        IntVector back = Lanes.loadInts(weights, at + Lanes.LENGTH);
        FloatVector s = VectorMath.splat(Lanes.get(x, x0 + i) * scale);
        a = VectorMath.fma(s, code(front, 24), a);
        b = VectorMath.fma(s, code(back, 24), b);
        s = VectorMath.splat(Lanes.get(x, x0 + i + 1) * scale);
        a = VectorMath.fma(s, code(front, 16), a);
        b = VectorMath.fma(s, code(back, 16), b);
        s = VectorMath.splat(Lanes.get(x, x0 + i + 2) * scale);
        a = VectorMath.fma(s, code(front, 8), a);
        b = VectorMath.fma(s, code(back, 8), b);
        s = VectorMath.splat(Lanes.get(x, x0 + i + 3) * scale);
        a = VectorMath.fma(s, code(front, 0), a);
        b = VectorMath.fma(s, code(back, 0), b);
      }
      for (int shift = 24; i < end; i++, shift -= 8) {
        FloatVector s = VectorMath.splat(Lanes.get(x, x0 + i) * scale);
        a = VectorMath.fma(s, code(Lanes.loadInts(weights, at), shift), a);
        b = VectorMath.fma(s, code(Lanes.loadInts(weights, at + Lanes.LENGTH), shift), b);
      }
    }
    put(sums, lane, a, b);
  }

  private static void twoFp8(
      float[] sums, int lane, ByteBuffer x, int[] starts, PanelMatrix w, int matrix, int panel) {
    ByteBuffer weights = w.values().bytes();
    int x0 = starts[0];
    int x1 = starts[1];
    FloatVector a0 = VectorMath.zero();
    FloatVector b0 = VectorMath.zero();
    FloatVector a1 = VectorMath.zero();
    FloatVector b1 = VectorMath.zero();
    int inputs = w.inputs();
    int at = w.start(matrix, panel) / 4 + lane;
    for (int block = 0, i = 0; i < inputs; block++) {
      float scale = w.scale(matrix, panel, block);
      int end = Math.min(inputs, i + PanelMatrix.SCALE_INPUTS);
      for (; i + 3 < end; i += 4, at += PanelMatrix.WIDTH) {
        IntVector front = Lanes.loadInts(weights, at);
        IntVector back = Lanes.loadInts(weights, at + Lanes.LENGTH);
        FloatVector a = code(front, 24);
        FloatVector b = code(back, 24);
        FloatVector s0 = VectorMath.splat(Lanes.get(x, x0 + i) * scale);
        FloatVector s1 = VectorMath.splat(Lanes.get(x, x1 + i) * scale);
        a0 = VectorMath.fma(s0, a, a0);
        b0 = VectorMath.fma(s0, b, b0);
        a1 = VectorMath.fma(s1, a, a1);
        b1 = VectorMath.fma(s1, b, b1);
        a = code(front, 16);
        b = code(back, 16);
        s0 = VectorMath.splat(Lanes.get(x, x0 + i + 1) * scale);
        s1 = VectorMath.splat(Lanes.get(x, x1 + i + 1) * scale);
        a0 = VectorMath.fma(s0, a, a0);
        b0 = VectorMath.fma(s0, b, b0);
        a1 = VectorMath.fma(s1, a, a1);
        b1 = VectorMath.fma(s1, b, b1);
        a = code(front, 8);
        b = code(back, 8);
        s0 = VectorMath.splat(Lanes.get(x, x0 + i + 2) * scale);
        s1 = VectorMath.splat(Lanes.get(x, x1 + i + 2) * scale);
        a0 = VectorMath.fma(s0, a, a0);
        b0 = VectorMath.fma(s0, b, b0);
        a1 = VectorMath.fma(s1, a, a1);
        b1 = VectorMath.fma(s1, b, b1);
        a = code(front, 0);
        b = code(back, 0);
        s0 = VectorMath.splat(Lanes.get(x, x0 + i + 3) * scale);
        s1 = VectorMath.splat(Lanes.get(x, x1 + i + 3) * scale);
        a0 = VectorMath.fma(s0, a, a0);
        b0 = VectorMath.fma(s0, b, b0);
        a1 = VectorMath.fma(s1, a, a1);
        b1 = VectorMath.fma(s1, b, b1);
      }
      for (int shift = 24; i < end; i++, shift -= 8) {
        FloatVector a = code(Lanes.loadInts(weights, at), shift);
        FloatVector b = code(Lanes.loadInts(weights, at + Lanes.LENGTH), shift);
        FloatVector s0 = VectorMath.splat(Lanes.get(x, x0 + i) * scale);
        FloatVector s1 = VectorMath.splat(Lanes.get(x, x1 + i) * scale);
        a0 = VectorMath.fma(s0, a, a0);
        b0 = VectorMath.fma(s0, b, b0);
        a1 = VectorMath.fma(s1, a, a1);
        b1 = VectorMath.fma(s1, b, b1);
      }
    }
    put(sums, lane, a0, b0);
    put(sums, lane + PanelMatrix.WIDTH, a1, b1);
  }

  /** Decodes a panel to floats, laid out as an F32 panel. */
  static void unpack(ByteBuffer to, PanelMatrix w, int matrix, int panel) {
    int group = w.group();
    int bits = 32 / group;
    boolean half = group == 2;
    ByteBuffer weights = w.values().bytes();
    int start = w.start(matrix, panel) / group;
    for (int i = 0; i < w.inputs(); i += group) {
      float scale = half ? 1 : w.scale(matrix, panel, i / PanelMatrix.SCALE_INPUTS);
      int members = Math.min(group, w.inputs() - i);
      for (int lane = 0; lane < PanelMatrix.WIDTH; lane += Lanes.LENGTH) {
        IntVector packed = Lanes.loadInts(weights, start + i / group * PanelMatrix.WIDTH + lane);
        for (int k = 0; k < members; k++) {
          int shift = 32 - bits * (k + 1);
          FloatVector value =
              half
                  ? packed
                      .lanewise(VectorOperators.LSHL, shift)
                      .and(UPPER_HALF)
                      .reinterpretAsFloats()
                  : code(packed, shift).mul(scale);
          Lanes.store(to, (i + k) * PanelMatrix.WIDTH + lane, value);
        }
      }
    }
  }

  /** BF16 of the even inputs. */
  private static FloatVector lower(IntVector pairs) {
    return pairs.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
  }

  /** BF16 of the odd inputs. */
  private static FloatVector upper(IntVector pairs) {
    return pairs.and(UPPER_HALF).reinterpretAsFloats();
  }

  /** E4M3 of one byte of every lane, which the shift takes to the top. */
  private static FloatVector code(IntVector codes, int shift) {
    return codes
        .lanewise(VectorOperators.LSHL, shift)
        .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
        .and(E4M3_SIGN_EXPONENT_MANTISSA)
        .reinterpretAsFloats()
        .mul(E4M3_BIAS);
  }

  private static void put(float[] sums, int at, FloatVector a, FloatVector b) {
    a.intoArray(sums, at);
    b.intoArray(sums, at + Lanes.LENGTH);
  }
}
