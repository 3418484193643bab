package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/** Fast element-wise kernels. */
final class VectorElementwise {

  private final Parallel parallel;

  VectorElementwise(Parallel parallel) {
    this.parallel = parallel;
  }

  void addScaled(Tensor y, Tensor x, float a) {
    ByteBuffer to = y.bytes();
    ByteBuffer from = x.bytes();
    Pieces.forEach(
        parallel,
        y.size(),
        Pieces.GRAIN,
        (first, end) -> VectorRows.addScaledRow(to, first, from, first, a, end - first));
  }

  double sumOfSquares(Tensor x) {
    ByteBuffer values = x.bytes();
    double[] partial = new double[Pieces.count(x.size(), Pieces.GRAIN)];
    Pieces.forEach(
        parallel,
        x.size(),
        Pieces.GRAIN,
        (first, end) -> partial[first / Pieces.GRAIN] = sumOfSquares(values, first, end));
    double sum = 0;
    for (double piece : partial) {
      sum += piece;
    }
    return sum;
  }

  /** In double throughout: a float sum over a billion weights would lose the small ones. */
  private static double sumOfSquares(ByteBuffer values, int first, int end) {
    int bound = Lanes.bound(first, end);
    DoubleVector even = DoubleVector.zero(Lanes.DOUBLES);
    DoubleVector odd = even;
    for (int i = first; i < bound; i += Lanes.LENGTH) {
      DoubleVector front = Lanes.loadAsDoubles(values, i);
      DoubleVector back = Lanes.loadAsDoubles(values, i + Lanes.DOUBLES.length());
      even = front.fma(front, even);
      odd = back.fma(back, odd);
    }
    double sum = 0;
    for (double lane : even.add(odd).toArray()) {
      sum += lane;
    }
    for (int i = bound; i < end; i++) {
      double value = Lanes.get(values, i);
      sum += value * value;
    }
    return sum;
  }

  int firstNonFinite(Tensor x) {
    ByteBuffer values = x.bytes();
    int[] found = new int[Pieces.count(x.size(), Pieces.GRAIN)];
    Pieces.forEach(
        parallel,
        x.size(),
        Pieces.GRAIN,
        (first, end) -> found[first / Pieces.GRAIN] = firstNonFinite(values, first, end));
    for (int index : found) {
      if (index >= 0) {
        return index;
      }
    }
    return -1;
  }

  private static int firstNonFinite(ByteBuffer values, int first, int end) {
    int bound = Lanes.bound(first, end);
    FloatVector zeros = VectorMath.zero();
    for (int i = first; i < bound; i += Lanes.LENGTH) {
      // x * 0 is 0 for a finite x and NaN otherwise, and NaN stays.
      zeros = VectorMath.fma(Lanes.load(values, i), VectorMath.zero(), zeros);
    }
    int from = zeros.test(VectorOperators.IS_NAN).anyTrue() ? first : bound;
    for (int i = from; i < end; i++) {
      if (!Float.isFinite(Lanes.get(values, i))) {
        return i;
      }
    }
    return -1;
  }

  void sigmoid(Tensor y, Tensor x) {
    ByteBuffer to = y.bytes();
    ByteBuffer from = x.bytes();
    Pieces.forEach(
        parallel,
        y.size(),
        Pieces.GRAIN,
        (first, end) -> {
          int bound = Lanes.bound(first, end);
          for (int i = first; i < bound; i += Lanes.LENGTH) {
            Lanes.store(to, i, VectorMath.sigmoid(Lanes.load(from, i)));
          }
          if (bound < end) {
            // As a vector too: a row's bits must not depend on where in the tensor it lies.
            float[] rest = new float[Lanes.LENGTH];
            for (int i = bound; i < end; i++) {
              rest[i - bound] = Lanes.get(from, i);
            }
            VectorMath.sigmoid(FloatVector.fromArray(Lanes.FLOATS, rest, 0)).intoArray(rest, 0);
            for (int i = bound; i < end; i++) {
              Lanes.set(to, i, rest[i - bound]);
            }
          }
        });
  }

  void sigmoidBackward(Tensor dLogits, Tensor dScores, Tensor scores) {
    ByteBuffer to = dLogits.bytes();
    ByteBuffer from = dScores.bytes();
    ByteBuffer values = scores.bytes();
    Pieces.forEach(
        parallel,
        scores.size(),
        Pieces.GRAIN,
        (first, end) -> {
          int bound = Lanes.bound(first, end);
          for (int i = first; i < bound; i += Lanes.LENGTH) {
            FloatVector s = Lanes.load(values, i);
            Lanes.store(to, i, Lanes.load(from, i).mul(s).mul(VectorMath.splat(1).sub(s)));
          }
          for (int i = bound; i < end; i++) {
            float s = Lanes.get(values, i);
            Lanes.set(to, i, Lanes.get(from, i) * s * (1 - s));
          }
        });
  }
}
