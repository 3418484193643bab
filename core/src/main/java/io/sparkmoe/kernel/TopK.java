package io.sparkmoe.kernel;

/** The largest of a row of scores, by insertion into a short sorted list. One thread's own. */
final class TopK {

  private final float[] best;
  private final int[] indices;
  private int count;
  private float floor = Float.NEGATIVE_INFINITY;

  /**
   * @param capacity how many are kept
   */
  TopK(int capacity) {
    best = new float[capacity];
    indices = new int[capacity];
  }

  /**
   * Forgets what is kept.
   *
   * @param floor a value that at least as many of those to come reach as are kept; smaller ones are
   *     passed over, which spares most insertions
   */
  void clear(float floor) {
    count = 0;
    this.floor = floor;
  }

  /** Offers values [from, to); offered in ascending order of index, the lowest index wins ties. */
  void offer(float[] values, int from, int to) {
    int i = from;
    float lowest = floor;
    for (; i < to && count < best.length; i++) {
      if (!(values[i] < lowest)) {
        insert(values[i], i);
      }
    }
    // Most values fail this one comparison, against a local: fields would be read again for each.
    float least = count == 0 ? 0 : best[count - 1];
    for (; i < to; i++) {
      if (values[i] > least) {
        insert(values[i], i);
        least = best[count - 1];
      }
    }
  }

  /** Offers one value, under the same rule. */
  void offer(float value, int index) {
    if (count < best.length || value > best[count - 1]) {
      insert(value, index);
    }
  }

  /** What a value must exceed to be kept once there are as many as are kept. */
  float least() {
    return best[count - 1];
  }

  /** The kept values, largest first. */
  float value(int rank) {
    return best[rank];
  }

  private void insert(float value, int index) {
    int at = count < best.length ? count++ : count - 1;
    // Only past strictly smaller ones: an equal one came first and has the lower index.
    for (; at > 0 && value > best[at - 1]; at--) {
      best[at] = best[at - 1];
      indices[at] = indices[at - 1];
    }
    best[at] = value;
    indices[at] = index;
  }

  /** The kept indices, largest value first. */
  int index(int rank) {
    return indices[rank];
  }

  /** How many are kept at most. */
  int capacity() {
    return best.length;
  }

  int count() {
    return count;
  }
}
