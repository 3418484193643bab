package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;

/** Fast kernels over rows picked by an index, and over column halves. D columns of a row. */
final class VectorRows {

  /** Rows read at the same time by a scatter: they lie anywhere, and one alone waits for memory. */
  private static final int STREAMS = 8;

  private final Parallel parallel;

  VectorRows(Parallel parallel) {
    this.parallel = parallel;
  }

  /** Of any element type. */
  void gather(Tensor y, Tensor x, Tensor index) {
    int rowBytes = y.cols() * y.type().sizeBytes();
    ByteBuffer to = y.bytes();
    ByteBuffer from = x.bytes();
    Pieces.forEach(
        parallel,
        index.size(),
        Pieces.rowGrain(y.cols()),
        (first, end) -> {
          for (int i = first; i < end; i++) {
            to.put(i * rowBytes, from, index.getInt(i) * rowBytes, rowBytes);
          }
        });
  }

  /** Sum of x y over {@code count} elements, in two chains to hide the latency of the addition. */
  static float dot(ByteBuffer x, int xStart, ByteBuffer y, int yStart, int count) {
    FloatVector even = VectorMath.zero();
    FloatVector odd = VectorMath.zero();
    int i = 0;
    for (; i + 2 * Lanes.LENGTH <= count; i += 2 * Lanes.LENGTH) {
      int next = i + Lanes.LENGTH;
      even = VectorMath.fma(Lanes.load(x, xStart + i), Lanes.load(y, yStart + i), even);
      odd = VectorMath.fma(Lanes.load(x, xStart + next), Lanes.load(y, yStart + next), odd);
    }
    if (i + Lanes.LENGTH <= count) {
      even = VectorMath.fma(Lanes.load(x, xStart + i), Lanes.load(y, yStart + i), even);
      i += Lanes.LENGTH;
    }
    float sum = VectorMath.sum(even.add(odd));
    for (; i < count; i++) {
      sum += Lanes.get(x, xStart + i) * Lanes.get(y, yStart + i);
    }
    return sum;
  }

  /**
   * {@code y[index[i]] += x[i]}. Sources are first listed by target in ascending order: targets
   * then belong to one piece each, and every target adds its sources in the order of i.
   */
  void scatterAdd(Tensor y, Tensor x, Tensor index) {
    int d = y.cols();
    int targets = y.rows();
    ByteBuffer to = y.bytes();
    ByteBuffer from = x.bytes();
    int[] starts = new int[targets + 1];
    for (int i = 0; i < index.size(); i++) {
      starts[index.getInt(i) + 1]++;
    }
    for (int t = 0; t < targets; t++) {
      starts[t + 1] += starts[t];
    }
    int[] next = starts.clone();
    int[] sources = new int[index.size()];
    for (int i = 0; i < index.size(); i++) {
      sources[next[index.getInt(i)]++] = i * d;
    }
    Pieces.forEach(
        parallel,
        targets,
        Pieces.rowGrain(d),
        (first, end) -> {
          for (int t = first; t < end; t++) {
            for (int s = starts[t]; s < starts[t + 1]; s += STREAMS) {
              addRows(to, t * d, from, sources, s, Math.min(s + STREAMS, starts[t + 1]), d);
            }
          }
        });
  }

  /** {@code y += sum of x[sources[s]]} over s in [first, end), added in that order. */
  private static void addRows(
      ByteBuffer y, int yStart, ByteBuffer x, int[] sources, int first, int end, int d) {
    int bound = Lanes.FLOATS.loopBound(d);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector sum = Lanes.load(y, yStart + i);
      for (int s = first; s < end; s++) {
        sum = sum.add(Lanes.load(x, sources[s] + i));
      }
      Lanes.store(y, yStart + i, sum);
    }
    for (int i = bound; i < d; i++) {
      float sum = Lanes.get(y, yStart + i);
      for (int s = first; s < end; s++) {
        sum += Lanes.get(x, sources[s] + i);
      }
      Lanes.set(y, yStart + i, sum);
    }
  }

  /** {@code y += a x} of d elements. */
  static void addScaledRow(ByteBuffer y, int yStart, ByteBuffer x, int xStart, float a, int d) {
    int bound = Lanes.FLOATS.loopBound(d);
    FloatVector factor = VectorMath.splat(a);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      Lanes.store(
          y,
          yStart + i,
          VectorMath.fma(Lanes.load(x, xStart + i), factor, Lanes.load(y, yStart + i)));
    }
    for (int i = bound; i < d; i++) {
      Lanes.set(y, yStart + i, Math.fma(Lanes.get(x, xStart + i), a, Lanes.get(y, yStart + i)));
    }
  }

  void concatColumns(Tensor y, Tensor a, Tensor b) {
    int left = a.cols();
    int right = b.cols();
    ByteBuffer to = y.bytes();
    Pieces.forEach(
        parallel,
        y.rows(),
        Pieces.rowGrain(left + right),
        (first, end) -> {
          for (int t = first; t < end; t++) {
            Lanes.copy(to, t * (left + right), a.bytes(), t * left, left);
            Lanes.copy(to, t * (left + right) + left, b.bytes(), t * right, right);
          }
        });
  }

  void splitColumnsAdd(Tensor da, Tensor db, Tensor dy) {
    int left = da.cols();
    int right = db.cols();
    ByteBuffer from = dy.bytes();
    Pieces.forEach(
        parallel,
        dy.rows(),
        Pieces.rowGrain(left + right),
        (first, end) -> {
          for (int t = first; t < end; t++) {
            addScaledRow(da.bytes(), t * left, from, t * (left + right), 1, left);
            addScaledRow(db.bytes(), t * right, from, t * (left + right) + left, 1, right);
          }
        });
  }
}
