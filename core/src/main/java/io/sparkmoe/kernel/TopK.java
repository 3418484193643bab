package io.sparkmoe.kernel;

/** The largest of a row of scores, by insertion into a short sorted list. One thread's own. */
final class TopK {

  private final float[] best;
  private final int[] indices;
  private int count;

  /**
   * @param capacity how many are kept
   */
  TopK(int capacity) {
    best = new float[capacity];
    indices = new int[capacity];
  }

  void clear() {
    count = 0;
  }

  /** Offers values [from, to); offered in ascending order of index, the lowest index wins ties. */
  void offer(float[] values, int from, int to) {
    for (int i = from; i < to; i++) {
      // Most values fail this one comparison once the list is full.
      if (count < best.length || values[i] > best[count - 1]) {
        insert(values[i], i);
      }
    }
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

  float value(int rank) {
    return best[rank];
  }

  int count() {
    return count;
  }
}
