package io.sparkmoe.kernel;

import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;

/**
 * A thread's block of attention scores, and of their gradients, and the passes over its rows:
 * (queries, keys) each, where query i of the block sees the keys up to itself.
 */
final class AttentionTile {

  /** What {@link #stride} counts in. */
  private static final int STRIP = 256;

  /** A cache line: rows a multiple of a page apart would push each other out of the cache. */
  private static final int LINE = 16;

  private final int mostQueries;
  private final Scratch scratch = new Scratch();
  private ByteBuffer values;
  private int first;
  private int queries;
  private int keys;
  private int stride;
  private float scale;

  /** Element at which the gradients start. */
  private int gradients;

  /** Of the scaled scores of each query. */
  final float[] logSums;

  /** What the softmax's backward subtracts, of each query. */
  final float[] deltas;

  /**
   * @param mostQueries rows of the largest block
   */
  AttentionTile(int mostQueries) {
    this.mostQueries = mostQueries;
    this.logSums = new float[mostQueries];
    this.deltas = new float[mostQueries];
  }

  /**
   * Begins a block with undefined values.
   *
   * @param firstQuery position of its first query
   * @param count queries
   * @param rowStride elements from a row to the next, see {@link #stride}
   * @param parts 1 = scores, 2 = also their gradients
   * @param scoreScale factor of the scores
   */
  void open(int firstQuery, int count, int rowStride, int parts, float scoreScale) {
    first = firstQuery;
    queries = count;
    keys = firstQuery + count;
    scale = scoreScale;
    stride = rowStride;
    gradients = mostQueries * stride;
    values = scratch.floats(parts * gradients);
  }

  /**
   * Elements between rows of scores for up to so many keys. It is the same for all blocks of a
   * sequence, and for sequences of about its length, because a matrix library may compile a product
   * for each stride that it meets.
   */
  static int stride(int mostKeys) {
    return Pieces.count(mostKeys, STRIP) * STRIP + LINE;
  }

  /** Address of the scores. */
  long scoresAt() {
    return scratch.address();
  }

  /** Address of their gradients. */
  long gradientsAt() {
    return scratch.address() + (long) gradients * Float.BYTES;
  }

  void run(Pass<AttentionTile> pass) {
    pass.run(this);
  }

  /** Keys that query i sees. */
  private int seen(int i) {
    return first + i + 1;
  }

  private void clearUnseen(int row, int i) {
    Lanes.clear(values, row + seen(i), keys - seen(i));
  }

  // ---- passes

  /** Scores become probabilities; writes {@link #logSums}. */
  void softmax() {
    for (int i = 0; i < queries; i++) {
      logSums[i] = softmaxRow(values, i * stride, seen(i), keys, scale);
      clearUnseen(i * stride, i);
    }
  }

  /** Scores become the probabilities that {@link #logSums} belong to. */
  void probabilities() {
    for (int i = 0; i < queries; i++) {
      probabilityRow(values, i * stride, seen(i), keys, scale, logSums[i]);
      clearUnseen(i * stride, i);
    }
  }

  /** Gradients of probabilities become those of scores; reads {@link #deltas}. */
  void scoreGradients() {
    for (int i = 0; i < queries; i++) {
      int at = gradients + i * stride;
      scoreGradientRow(values, at, i * stride, seen(i), keys, scale, deltas[i]);
      clearUnseen(at, i);
    }
  }

  // ---- rows

  /**
   * {@code x = softmax(scale x)} over the first {@code count} of {@code width} elements; what comes
   * after them is undefined.
   *
   * @return log(sum(exp(scale x)))
   */
  static float softmaxRow(ByteBuffer x, int start, int count, int width, float scale) {
    int bound = vectorsOver(count, width);
    // Scores of later keys in the last vector must count nothing; a loop over single elements
    // would cost more than all vectors of a short row.
    for (int i = count; i < bound; i++) {
      Lanes.set(x, start + i, Float.NEGATIVE_INFINITY);
    }
    int end = Math.max(bound, count);
    float largest = VectorLoss.largest(x, start, end) * scale;
    FloatVector sums = VectorMath.zero();
    FloatVector factor = VectorMath.splat(scale);
    FloatVector shift = VectorMath.splat(-largest);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector e = VectorMath.exp(VectorMath.fma(Lanes.load(x, start + i), factor, shift));
      Lanes.store(x, start + i, e);
      sums = sums.add(e);
    }
    float sum = VectorMath.sum(sums);
    for (int i = bound; i < count; i++) {
      float e = VectorMath.exp(Math.fma(Lanes.get(x, start + i), scale, -largest));
      Lanes.set(x, start + i, e);
      sum += e;
    }
    float inverse = 1 / sum;
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      Lanes.store(x, start + i, Lanes.load(x, start + i).mul(inverse));
    }
    for (int i = bound; i < count; i++) {
      Lanes.set(x, start + i, Lanes.get(x, start + i) * inverse);
    }
    return (float) (largest + Math.log(sum));
  }

  /** Elements in whole vectors that cover {@code count}, or fewer where a row is not as wide. */
  private static int vectorsOver(int count, int width) {
    return Math.min(
        Lanes.FLOATS.loopBound(width), Pieces.count(count, Lanes.LENGTH) * Lanes.LENGTH);
  }

  /**
   * forward: p = exp(scale x - logSumExp); so x becomes p, in the first {@code count} of {@code
   * width} elements; what comes after them is undefined.
   */
  private static void probabilityRow(
      ByteBuffer x, int start, int count, int width, float scale, float logSumExp) {
    int bound = vectorsOver(count, width);
    FloatVector factor = VectorMath.splat(scale);
    FloatVector shift = VectorMath.splat(-logSumExp);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      Lanes.store(
          x, start + i, VectorMath.exp(VectorMath.fma(Lanes.load(x, start + i), factor, shift)));
    }
    for (int i = bound; i < count; i++) {
      Lanes.set(x, start + i, VectorMath.exp(Math.fma(Lanes.get(x, start + i), scale, -logSumExp)));
    }
  }

  /** {@code dp = scale p (dp - delta)}, likewise. */
  private static void scoreGradientRow(
      ByteBuffer values, int dpStart, int pStart, int count, int width, float scale, float delta) {
    int bound = vectorsOver(count, width);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector change = Lanes.load(values, dpStart + i).sub(delta);
      Lanes.store(values, dpStart + i, Lanes.load(values, pStart + i).mul(change).mul(scale));
    }
    for (int i = bound; i < count; i++) {
      float change = Lanes.get(values, dpStart + i) - delta;
      Lanes.set(values, dpStart + i, Lanes.get(values, pStart + i) * change * scale);
    }
  }
}
