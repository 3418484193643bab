package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Rotations of interleaved pairs by position, {@code (a, b) -> (a cos - b sin, a sin + b cos)}: as
 * the product of every channel with its cosine plus that of its neighbour with its signed sine,
 * which vectors do without taking pairs apart. R channels.
 */
final class RotaryTurns {

  private final int channels;

  /** Cosine of every channel; position p starts at element p * R. */
  private final float[] cosines;

  /** Sine of every channel, negative where the first of a pair takes off the second. */
  private final float[] sines;

  /**
   * @param cos (positions, R/2)
   * @param sin (positions, R/2)
   * @param sign 1, or -1 to turn back
   */
  RotaryTurns(Tensor cos, Tensor sin, int sign) {
    channels = 2 * cos.cols();
    cosines = new float[2 * cos.size()];
    sines = new float[2 * sin.size()];
    for (int i = 0; i < cos.size(); i++) {
      cosines[2 * i] = cos.getFloat(i);
      cosines[2 * i + 1] = cos.getFloat(i);
      sines[2 * i] = -sign * sin.getFloat(i);
      sines[2 * i + 1] = sign * sin.getFloat(i);
    }
  }

  /** Turns R channels of x, which may be those of y. */
  void rotate(ByteBuffer y, int yStart, ByteBuffer x, int xStart, int position) {
    int row = position * channels;
    int bound = Lanes.FLOATS.loopBound(channels);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector v = Lanes.load(x, xStart + i);
      FloatVector turned = v.mul(Lanes.load(cosines, row + i));
      Lanes.store(y, yStart + i, turned.add(neighbours(v).mul(Lanes.load(sines, row + i))));
    }
    for (int i = bound; i < channels; i += 2) {
      float a = Lanes.get(x, xStart + i);
      float b = Lanes.get(x, xStart + i + 1);
      Lanes.set(y, yStart + i, a * cosines[row + i] + b * sines[row + i]);
      Lanes.set(y, yStart + i + 1, b * cosines[row + i + 1] + a * sines[row + i + 1]);
    }
  }

  /** Every pair the other way round. */
  private static FloatVector neighbours(FloatVector v) {
    LongVector pairs = v.reinterpretAsLongs();
    return pairs
        .lanewise(VectorOperators.LSHL, Float.SIZE)
        .or(pairs.lanewise(VectorOperators.LSHR, Float.SIZE))
        .reinterpretAsFloats();
  }
}
