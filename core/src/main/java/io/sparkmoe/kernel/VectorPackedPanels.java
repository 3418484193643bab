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
 * <p>Loops spell out what helper methods would say: the compiler stops inlining ordinary methods
 * into a loop of this size (not the Vector API's own), and would box every vector that passes one.
 *
 * <p>Scales are powers of two and go to the input, which is as exact as a scaled weight. So a sum
 * has the same bits here, over decoded floats ({@link #unpack}), and for any number of rows.
 */
final class VectorPackedPanels {

  /** Rows up to which weights are decoded in registers; more are worth a decoded panel. */
  static final int ROWS = 2;

  private static final int UPPER_HALF = 0xFFFF0000;

  private static final int E4M3_BITS = 0x87F00000;

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
      FloatVector s0 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x0 + i));
      FloatVector s1 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x0 + i + 1));
      a = s0.fma(front.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats(), a);
      b = s0.fma(back.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats(), b);
      a = s1.fma(front.and(UPPER_HALF).reinterpretAsFloats(), a);
      b = s1.fma(back.and(UPPER_HALF).reinterpretAsFloats(), b);
    }
    if (i < inputs) {
      FloatVector s0 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x0 + i));
      a =
          s0.fma(
              Lanes.loadInts(weights, at).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats(),
              a);
      b =
          s0.fma(
              Lanes.loadInts(weights, at + Lanes.LENGTH)
                  .lanewise(VectorOperators.LSHL, 16)
                  .reinterpretAsFloats(),
              b);
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
      FloatVector a = front.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
      FloatVector b = back.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
      FloatVector s0 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x0 + i));
      FloatVector s1 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x1 + i));
      a0 = s0.fma(a, a0);
      b0 = s0.fma(b, b0);
      a1 = s1.fma(a, a1);
      b1 = s1.fma(b, b1);
      if (i + 1 == inputs) {
        break;
      }
      a = front.and(UPPER_HALF).reinterpretAsFloats();
      b = back.and(UPPER_HALF).reinterpretAsFloats();
      s0 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x0 + i + 1));
      s1 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x1 + i + 1));
      a0 = s0.fma(a, a0);
      b0 = s0.fma(b, b0);
      a1 = s1.fma(a, a1);
      b1 = s1.fma(b, b1);
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
    // One loop: the compiler boxes sums that live through nested ones.
    int i = 0;
    for (; i + 3 < inputs; i += 4, at += PanelMatrix.WIDTH) {
      float scale = w.scale(matrix, panel, i / PanelMatrix.SCALE_INPUTS);
      IntVector front = Lanes.loadInts(weights, at);
      IntVector back = Lanes.loadInts(weights, at + Lanes.LENGTH);
      FloatVector s = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x0 + i) * scale);
      a =
          s.fma(
              front
                  .lanewise(VectorOperators.LSHL, 24)
                  .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
                  .and(E4M3_BITS)
                  .reinterpretAsFloats()
                  .mul(E4M3_BIAS),
              a);
      b =
          s.fma(
              back.lanewise(VectorOperators.LSHL, 24)
                  .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
                  .and(E4M3_BITS)
                  .reinterpretAsFloats()
                  .mul(E4M3_BIAS),
              b);
      s = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x0 + i + 1) * scale);
      a =
          s.fma(
              front
                  .lanewise(VectorOperators.LSHL, 16)
                  .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
                  .and(E4M3_BITS)
                  .reinterpretAsFloats()
                  .mul(E4M3_BIAS),
              a);
      b =
          s.fma(
              back.lanewise(VectorOperators.LSHL, 16)
                  .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
                  .and(E4M3_BITS)
                  .reinterpretAsFloats()
                  .mul(E4M3_BIAS),
              b);
      s = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x0 + i + 2) * scale);
      a =
          s.fma(
              front
                  .lanewise(VectorOperators.LSHL, 8)
                  .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
                  .and(E4M3_BITS)
                  .reinterpretAsFloats()
                  .mul(E4M3_BIAS),
              a);
      b =
          s.fma(
              back.lanewise(VectorOperators.LSHL, 8)
                  .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
                  .and(E4M3_BITS)
                  .reinterpretAsFloats()
                  .mul(E4M3_BIAS),
              b);
      s = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x0 + i + 3) * scale);
      a =
          s.fma(
              front
                  .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
                  .and(E4M3_BITS)
                  .reinterpretAsFloats()
                  .mul(E4M3_BIAS),
              a);
      b =
          s.fma(
              back.lanewise(VectorOperators.ASHR, E4M3_SHIFT)
                  .and(E4M3_BITS)
                  .reinterpretAsFloats()
                  .mul(E4M3_BIAS),
              b);
    }
    for (int shift = 24; i < inputs; i++, shift -= 8) {
      float scale = w.scale(matrix, panel, i / PanelMatrix.SCALE_INPUTS);
      FloatVector s = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x0 + i) * scale);
      a = s.fma(code(Lanes.loadInts(weights, at), shift), a);
      b = s.fma(code(Lanes.loadInts(weights, at + Lanes.LENGTH), shift), b);
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
    // One loop: the compiler boxes sums that live through nested ones.
    int i = 0;
    for (; i + 3 < inputs; i += 4, at += PanelMatrix.WIDTH) {
      float scale = w.scale(matrix, panel, i / PanelMatrix.SCALE_INPUTS);
      IntVector front = Lanes.loadInts(weights, at);
      IntVector back = Lanes.loadInts(weights, at + Lanes.LENGTH);
      FloatVector a =
          front
              .lanewise(VectorOperators.LSHL, 24)
              .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
              .and(E4M3_BITS)
              .reinterpretAsFloats()
              .mul(E4M3_BIAS);
      FloatVector b =
          back.lanewise(VectorOperators.LSHL, 24)
              .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
              .and(E4M3_BITS)
              .reinterpretAsFloats()
              .mul(E4M3_BIAS);
      FloatVector s0 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x0 + i) * scale);
      FloatVector s1 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x1 + i) * scale);
      a0 = s0.fma(a, a0);
      b0 = s0.fma(b, b0);
      a1 = s1.fma(a, a1);
      b1 = s1.fma(b, b1);
      a =
          front
              .lanewise(VectorOperators.LSHL, 16)
              .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
              .and(E4M3_BITS)
              .reinterpretAsFloats()
              .mul(E4M3_BIAS);
      b =
          back.lanewise(VectorOperators.LSHL, 16)
              .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
              .and(E4M3_BITS)
              .reinterpretAsFloats()
              .mul(E4M3_BIAS);
      s0 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x0 + i + 1) * scale);
      s1 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x1 + i + 1) * scale);
      a0 = s0.fma(a, a0);
      b0 = s0.fma(b, b0);
      a1 = s1.fma(a, a1);
      b1 = s1.fma(b, b1);
      a =
          front
              .lanewise(VectorOperators.LSHL, 8)
              .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
              .and(E4M3_BITS)
              .reinterpretAsFloats()
              .mul(E4M3_BIAS);
      b =
          back.lanewise(VectorOperators.LSHL, 8)
              .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
              .and(E4M3_BITS)
              .reinterpretAsFloats()
              .mul(E4M3_BIAS);
      s0 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x0 + i + 2) * scale);
      s1 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x1 + i + 2) * scale);
      a0 = s0.fma(a, a0);
      b0 = s0.fma(b, b0);
      a1 = s1.fma(a, a1);
      b1 = s1.fma(b, b1);
      a =
          front
              .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
              .and(E4M3_BITS)
              .reinterpretAsFloats()
              .mul(E4M3_BIAS);
      b =
          back.lanewise(VectorOperators.ASHR, E4M3_SHIFT)
              .and(E4M3_BITS)
              .reinterpretAsFloats()
              .mul(E4M3_BIAS);
      s0 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x0 + i + 3) * scale);
      s1 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x1 + i + 3) * scale);
      a0 = s0.fma(a, a0);
      b0 = s0.fma(b, b0);
      a1 = s1.fma(a, a1);
      b1 = s1.fma(b, b1);
    }
    for (int shift = 24; i < inputs; i++, shift -= 8) {
      float scale = w.scale(matrix, panel, i / PanelMatrix.SCALE_INPUTS);
      FloatVector a = code(Lanes.loadInts(weights, at), shift);
      FloatVector b = code(Lanes.loadInts(weights, at + Lanes.LENGTH), shift);
      FloatVector s0 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x0 + i) * scale);
      FloatVector s1 = FloatVector.broadcast(Lanes.FLOATS, Lanes.get(x, x1 + i) * scale);
      a0 = s0.fma(a, a0);
      b0 = s0.fma(b, b0);
      a1 = s1.fma(a, a1);
      b1 = s1.fma(b, b1);
    }
    put(sums, lane, a0, b0);
    put(sums, lane + PanelMatrix.WIDTH, a1, b1);
  }

  /** Decodes a panel to floats, laid out as an F32 panel. */
  static void unpack(ByteBuffer to, PanelMatrix w, int matrix, int panel) {
    for (int lane = 0; lane < PanelMatrix.WIDTH; lane += Lanes.LENGTH) {
      if (w.values().type() == DType.BF16) {
        unpackBfloat16(to, lane, w, matrix, panel);
      } else {
        unpackFp8(to, lane, w, matrix, panel);
      }
    }
  }

  private static void unpackBfloat16(
      ByteBuffer to, int lane, PanelMatrix w, int matrix, int panel) {
    ByteBuffer weights = w.values().bytes();
    int inputs = w.inputs();
    int at = w.start(matrix, panel) / 2 + lane;
    int out = lane;
    int i = 0;
    for (; i + 1 < inputs; i += 2, at += PanelMatrix.WIDTH, out += 2 * PanelMatrix.WIDTH) {
      IntVector pairs = Lanes.loadInts(weights, at);
      Lanes.store(to, out, pairs.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats());
      Lanes.store(to, out + PanelMatrix.WIDTH, pairs.and(UPPER_HALF).reinterpretAsFloats());
    }
    if (i < inputs) {
      Lanes.store(
          to,
          out,
          Lanes.loadInts(weights, at).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats());
    }
  }

  private static void unpackFp8(ByteBuffer to, int lane, PanelMatrix w, int matrix, int panel) {
    ByteBuffer weights = w.values().bytes();
    int inputs = w.inputs();
    int at = w.start(matrix, panel) / 4 + lane;
    int out = lane;
    for (int block = 0, i = 0; i < inputs; block++) {
      float scale = w.scale(matrix, panel, block);
      int end = Math.min(inputs, i + PanelMatrix.SCALE_INPUTS);
      for (; i + 3 < end; i += 4, at += PanelMatrix.WIDTH, out += 4 * PanelMatrix.WIDTH) {
        IntVector codes = Lanes.loadInts(weights, at);
        FloatVector first =
            codes
                .lanewise(VectorOperators.LSHL, 24)
                .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
                .and(E4M3_BITS)
                .reinterpretAsFloats()
                .mul(E4M3_BIAS);
        FloatVector second =
            codes
                .lanewise(VectorOperators.LSHL, 16)
                .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
                .and(E4M3_BITS)
                .reinterpretAsFloats()
                .mul(E4M3_BIAS);
        FloatVector third =
            codes
                .lanewise(VectorOperators.LSHL, 8)
                .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
                .and(E4M3_BITS)
                .reinterpretAsFloats()
                .mul(E4M3_BIAS);
        FloatVector fourth =
            codes
                .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
                .and(E4M3_BITS)
                .reinterpretAsFloats()
                .mul(E4M3_BIAS);
        Lanes.store(to, out, first.mul(scale));
        Lanes.store(to, out + PanelMatrix.WIDTH, second.mul(scale));
        Lanes.store(to, out + 2 * PanelMatrix.WIDTH, third.mul(scale));
        Lanes.store(to, out + 3 * PanelMatrix.WIDTH, fourth.mul(scale));
      }
      for (int shift = 24; i < end; i++, shift -= 8, out += PanelMatrix.WIDTH) {
        Lanes.store(to, out, code(Lanes.loadInts(weights, at), shift).mul(scale));
      }
    }
  }

  /** E4M3 of one byte of every lane, which the shift takes to the top; for the ends of loops. */
  private static FloatVector code(IntVector codes, int shift) {
    return codes
        .lanewise(VectorOperators.LSHL, shift)
        .lanewise(VectorOperators.ASHR, E4M3_SHIFT)
        .and(E4M3_BITS)
        .reinterpretAsFloats()
        .mul(E4M3_BIAS);
  }

  private static void put(float[] sums, int at, FloatVector a, FloatVector b) {
    a.intoArray(sums, at);
    b.intoArray(sums, at + Lanes.LENGTH);
  }
}
