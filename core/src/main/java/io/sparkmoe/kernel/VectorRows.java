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

  /** {@code y[index[i]] += x[i]}; every target adds its sources in the order of i. */
  void scatterAdd(Tensor y, Tensor x, Tensor index) {
    int d = y.cols();
    ByteBuffer to = y.bytes();
    ByteBuffer from = x.bytes();
    Listed listed = Listed.of(index, y.rows());
    int[] sources = listed.items;
    for (int s = 0; s < sources.length; s++) {
      sources[s] *= d;
    }
    listed.forEachTarget(
        parallel,
        d,
        (t, first, end) -> {
          for (int s = first; s < end; s += STREAMS) {
            addRows(to, t * d, from, sources, s, Math.min(s + STREAMS, end), d);
          }
        });
  }

  /** {@code y[t] = sum_k weight[t,k] x[index[t,k]]}. */
  void sumPicked(Tensor y, Tensor x, Tensor index, Tensor weight) {
    int d = y.cols();
    int k = index.cols();
    ByteBuffer to = y.bytes();
    ByteBuffer from = x.bytes();
    Pieces.forEach(
        parallel,
        y.rows(),
        Pieces.rowGrain(k * d),
        (first, end) -> {
          int[] sources = new int[k];
          float[] factors = new float[k];
          for (int t = first; t < end; t++) {
            for (int j = 0; j < k; j++) {
              sources[j] = index.getInt(t * k + j) * d;
              factors[j] = weight.getFloat(t * k + j);
            }
            Lanes.clear(to, t * d, d);
            addScaledRows(to, t * d, from, sources, factors, 0, k, d);
          }
        });
  }

  /** {@code y[index[t,k]] += weight[t,k] x[t]}; every target adds its sources in that order. */
  void addToPicked(Tensor y, Tensor x, Tensor index, Tensor weight) {
    int d = y.cols();
    int k = index.cols();
    ByteBuffer to = y.bytes();
    ByteBuffer from = x.bytes();
    Listed listed = Listed.of(index, y.rows());
    int[] sources = listed.items;
    float[] factors = new float[sources.length];
    for (int s = 0; s < sources.length; s++) {
      factors[s] = weight.getFloat(sources[s]);
      sources[s] = sources[s] / k * d;
    }
    listed.forEachTarget(
        parallel,
        d,
        (t, first, end) -> {
          for (int s = first; s < end; s += STREAMS) {
            int last = Math.min(s + STREAMS, end);
            addScaledRows(to, t * d, from, sources, factors, s, last, d);
          }
        });
  }

  /**
   * The numbers of an index's elements, listed by the target that they hold, ascending within one:
   * every target belongs to one piece, and adds in the same order whatever the threads.
   *
   * @param starts items of target t are [starts[t], starts[t+1])
   */
  private record Listed(int[] starts, int[] items) {

    /** What is done with a target's items [first, end). */
    @FunctionalInterface
    interface Body {
      void run(int target, int first, int end);
    }

    static Listed of(Tensor index, int targets) {
      int[] of = index.toIntArray();
      int[] starts = new int[targets + 1];
      for (int target : of) {
        starts[target + 1]++;
      }
      for (int t = 0; t < targets; t++) {
        starts[t + 1] += starts[t];
      }
      int[] next = starts.clone();
      int[] items = new int[of.length];
      for (int i = 0; i < of.length; i++) {
        items[next[of[i]]++] = i;
      }
      return new Listed(starts, items);
    }

    /** Targets whose items have d elements each. */
    void forEachTarget(Parallel parallel, int d, Body body) {
      int targets = starts.length - 1;
      long elementsOfOne = (long) d * items.length / Math.max(1, targets);
      Pieces.forEach(
          parallel,
          targets,
          Pieces.rowGrain((int) Math.min(Pieces.GRAIN, elementsOfOne)),
          (first, end) -> {
            for (int t = first; t < end; t++) {
              body.run(t, starts[t], starts[t + 1]);
            }
          });
    }
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

  /** {@code y += sum of factors[s] x[sources[s]]} over s in [first, end), added in that order. */
  private static void addScaledRows(
      ByteBuffer y,
      int yStart,
      ByteBuffer x,
      int[] sources,
      float[] factors,
      int first,
      int end,
      int d) {
    int bound = Lanes.FLOATS.loopBound(d);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector sum = Lanes.load(y, yStart + i);
      for (int s = first; s < end; s++) {
        FloatVector factor = VectorMath.splat(factors[s]);
        sum = VectorMath.fma(Lanes.load(x, sources[s] + i), factor, sum);
      }
      Lanes.store(y, yStart + i, sum);
    }
    for (int i = bound; i < d; i++) {
      float sum = Lanes.get(y, yStart + i);
      for (int s = first; s < end; s++) {
        sum = Math.fma(Lanes.get(x, sources[s] + i), factors[s], sum);
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
