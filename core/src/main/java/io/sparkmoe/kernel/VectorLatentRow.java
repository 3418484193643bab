package io.sparkmoe.kernel;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import jdk.incubator.vector.FloatVector;

/**
 * Attention of one new row over cached latents, and a thread's memory for it. All heads read the
 * same entries, which are copied to an array a few at a time: a vector of an array costs one
 * instruction, one of a byte buffer fifteen. Legend: L width of a latent, R rotary channels.
 */
final class VectorLatentRow {

  /** Entries copied at a time: they stay in the first-level cache while the heads pass. */
  private static final int ENTRIES = 64;

  /** Vectors that are summed side by side, to hide the latency of the addition. */
  private static final int SUMS = 4;

  private final Scratch scratch = new Scratch();
  private float[] query = new float[0];
  private float[] entries = new float[0];
  private float[] probabilities = new float[0];
  private float[] context = new float[0];

  /** A vector for each entry copied, whose lanes add up to its score. */
  private final float[] lanes = new float[ENTRIES * Lanes.LENGTH];

  /** L+R. */
  private int width;

  private int latent;

  /** Entries that the row sees. */
  private int seen;

  /** Of the scores of a head. */
  private int stride;

  /** Head that the passes work on. */
  private int head;

  /** First of the entries that are copied. */
  private int first;

  /** Number of entries that are copied. */
  private int count;

  // Passes over the entries that are copied, for one head.

  private final List<Pass<VectorLatentRow>> scorePasses =
      List.of(VectorLatentRow::multiply, VectorLatentRow::addUp);
  private final List<Pass<VectorLatentRow>> mixPasses = List.of(VectorLatentRow::mix);

  /**
   * Some heads of the row.
   *
   * @param context their L channels each are written
   * @param contextAt element where the first head's start
   * @param query L+R channels a head
   * @param queryAt element where the first head's start
   * @param heads their number
   * @param cached entries of L+R elements
   * @param seen entries up to the row's own
   */
  void run(
      ByteBuffer context,
      int contextAt,
      int latent,
      ByteBuffer query,
      int queryAt,
      int width,
      int heads,
      ByteBuffer cached,
      int seen,
      float scale) {
    open(heads, latent, width, seen);
    query.asFloatBuffer().get(queryAt, this.query, 0, heads * width);
    forEachEntry(cached, heads, scorePasses);
    softmax(heads, scale);
    forEachEntry(cached, heads, mixPasses);
    context.asFloatBuffer().put(contextAt, this.context, 0, heads * latent);
  }

  private void open(int heads, int latent, int width, int seen) {
    this.latent = latent;
    this.width = width;
    this.seen = seen;
    // Whole vectors, so that the softmax ends without single elements.
    stride = Pieces.count(seen, Lanes.LENGTH) * Lanes.LENGTH;
    count = 0;
    query = Scratch.grown(query, heads * width);
    entries = Scratch.grown(entries, ENTRIES * width);
    probabilities = Scratch.grown(probabilities, heads * stride);
    context = Scratch.grown(context, heads * latent);
    Arrays.fill(context, 0, heads * latent, 0);
  }

  private void forEachEntry(ByteBuffer cached, int heads, List<Pass<VectorLatentRow>> passes) {
    for (int next = 0; next < seen; next += ENTRIES) {
      copy(cached, next);
      for (head = 0; head < heads; head++) {
        for (Pass<VectorLatentRow> pass : passes) {
          pass.run(this);
        }
      }
    }
  }

  /** Copies entries, unless they are the ones that were copied last. */
  private void copy(ByteBuffer cached, int from) {
    if (count == 0 || from != first) {
      first = from;
      count = Math.min(ENTRIES, seen - from);
      cached.asFloatBuffer().get(from * width, entries, 0, count * width);
    }
  }

  private void softmax(int heads, float scale) {
    ByteBuffer scores = scratch.floats(heads * stride);
    scores.asFloatBuffer().put(0, probabilities, 0, heads * stride);
    for (int h = 0; h < heads; h++) {
      AttentionTile.softmaxRow(scores, h * stride, seen, stride, scale);
    }
    scores.asFloatBuffer().get(0, probabilities, 0, heads * stride);
  }

  // ---- passes

  /** Products of query and entry, all but the sum of lanes. */
  private void multiply() {
    int j = 0;
    for (; j + SUMS <= count; j += SUMS) {
      multiplyEntries(j);
    }
    int bound = Lanes.FLOATS.loopBound(width);
    for (; j < count; j++) {
      FloatVector sum = FloatVector.zero(Lanes.FLOATS);
      for (int i = 0, q = head * width, at = j * width; i < bound; i += Lanes.LENGTH) {
        sum = Lanes.load(query, q + i).fma(Lanes.load(entries, at + i), sum);
      }
      Lanes.store(lanes, j * Lanes.LENGTH, sum);
    }
  }

  /** {@link #SUMS} entries of {@link #multiply}. */
  private void multiplyEntries(int entry) {
    int bound = Lanes.FLOATS.loopBound(width);
    FloatVector zero = FloatVector.zero(Lanes.FLOATS);
    FloatVector a = zero;
    FloatVector b = zero;
    FloatVector c = zero;
    FloatVector d = zero;
    for (int i = 0, q = head * width, at = entry * width; i < bound; i += Lanes.LENGTH) {
      FloatVector channels = Lanes.load(query, q + i);
      a = channels.fma(Lanes.load(entries, at + i), a);
      b = channels.fma(Lanes.load(entries, at + width + i), b);
      c = channels.fma(Lanes.load(entries, at + 2 * width + i), c);
      d = channels.fma(Lanes.load(entries, at + 3 * width + i), d);
    }
    int to = entry * Lanes.LENGTH;
    Lanes.store(lanes, to, a);
    Lanes.store(lanes, to + Lanes.LENGTH, b);
    Lanes.store(lanes, to + 2 * Lanes.LENGTH, c);
    Lanes.store(lanes, to + 3 * Lanes.LENGTH, d);
  }

  /** Scores: lanes from first to last, then the channels that fill no vector. */
  private void addUp() {
    int bound = Lanes.FLOATS.loopBound(width);
    int to = head * stride + first;
    for (int j = 0; j < count; j++) {
      float sum = 0;
      for (int lane = 0; lane < Lanes.LENGTH; lane++) {
        sum += lanes[j * Lanes.LENGTH + lane];
      }
      for (int i = bound; i < width; i++) {
        sum += query[head * width + i] * entries[j * width + i];
      }
      probabilities[to + j] = sum;
    }
  }

  /** Adds each entry's latent times its probability to the context, entries ascending. */
  private void mix() {
    int to = head * latent;
    int i = 0;
    for (; i + SUMS * Lanes.LENGTH <= latent; i += SUMS * Lanes.LENGTH) {
      mixVectors(to + i, i);
    }
    for (; i + Lanes.LENGTH <= latent; i += Lanes.LENGTH) {
      FloatVector sum = Lanes.load(context, to + i);
      for (int j = 0, from = i, p = head * stride + first; j < count; j++, from += width) {
        sum = VectorMath.splat(probabilities[p + j]).fma(Lanes.load(entries, from), sum);
      }
      Lanes.store(context, to + i, sum);
    }
    for (; i < latent; i++) {
      float sum = context[to + i];
      for (int j = 0, p = head * stride + first; j < count; j++) {
        sum = Math.fma(probabilities[p + j], entries[j * width + i], sum);
      }
      context[to + i] = sum;
    }
  }

  /** {@link #SUMS} vectors of {@link #mix}. */
  private void mixVectors(int to, int channel) {
    FloatVector a = Lanes.load(context, to);
    FloatVector b = Lanes.load(context, to + Lanes.LENGTH);
    FloatVector c = Lanes.load(context, to + 2 * Lanes.LENGTH);
    FloatVector d = Lanes.load(context, to + 3 * Lanes.LENGTH);
    for (int j = 0, from = channel, p = head * stride + first; j < count; j++, from += width) {
      FloatVector weight = VectorMath.splat(probabilities[p + j]);
      a = weight.fma(Lanes.load(entries, from), a);
      b = weight.fma(Lanes.load(entries, from + Lanes.LENGTH), b);
      c = weight.fma(Lanes.load(entries, from + 2 * Lanes.LENGTH), c);
      d = weight.fma(Lanes.load(entries, from + 3 * Lanes.LENGTH), d);
    }
    Lanes.store(context, to, a);
    Lanes.store(context, to + Lanes.LENGTH, b);
    Lanes.store(context, to + 2 * Lanes.LENGTH, c);
    Lanes.store(context, to + 3 * Lanes.LENGTH, d);
  }
}
