package io.sparkmoe.distill.dl4j;

import java.util.Arrays;
import java.util.SplittableRandom;

/** Probabilities of the next token as a softmax gave them. */
final class Distribution {

  /** Most probable tokens up to which putting each in its place is sooner than sorting all. */
  private static final int FEW = 128;

  private final float[] probabilities;
  private final double sum;

  /**
   * @param probabilities that add up to 1 but for rounding, which is taken out
   */
  Distribution(float[] probabilities) {
    this.probabilities = probabilities;
    double total = 0;
    for (float p : probabilities) {
      total += p;
    }
    this.sum = total;
  }

  float logOf(int id) {
    return log(probabilities[id]);
  }

  private float log(double mass) {
    return (float) Math.log(Math.max(mass, Float.MIN_VALUE) / sum);
  }

  /** The k most probable ids, most probable first, the lowest id among equals. */
  int[] mostProbable(int k) {
    if (k > FEW) {
      return Arrays.copyOf(ranked(), k);
    }
    int[] best = new int[k];
    int count = 0;
    for (int id = 0; id < probabilities.length; id++) {
      float p = probabilities[id];
      if (count == k && p <= probabilities[best[k - 1]]) {
        continue;
      }
      int at = count < k ? count++ : k - 1;
      for (; at > 0 && p > probabilities[best[at - 1]]; at--) {
        best[at] = best[at - 1];
      }
      best[at] = id;
    }
    return best;
  }

  /** Log of the mass outside some ids; -infinity when they are all. */
  float logOfAllBut(int[] ids) {
    if (ids.length == probabilities.length) {
      return Float.NEGATIVE_INFINITY;
    }
    boolean[] left = new boolean[probabilities.length];
    for (int id : ids) {
      left[id] = true;
    }
    double mass = 0;
    for (int id = 0; id < probabilities.length; id++) {
      mass += left[id] ? 0 : probabilities[id];
    }
    return log(mass);
  }

  /**
   * A token at a temperature, of the most probable ones that together reach {@code topP}.
   *
   * @param temperature 0 = the most probable
   */
  int sample(double temperature, double topP, SplittableRandom random) {
    if (temperature == 0) {
      return mostProbable(1)[0];
    }
    double[] weights = new double[probabilities.length];
    double total = 0;
    for (int id = 0; id < weights.length; id++) {
      weights[id] = Math.pow(probabilities[id], 1 / temperature);
      total += weights[id];
    }
    if (topP == 1) {
      return draw(weights, weights.length, total, random);
    }
    int[] order = ranked();
    double[] kept = new double[order.length];
    int rank = 0;
    double mass = 0;
    while (rank < order.length && (rank == 0 || mass < topP * total)) {
      kept[rank] = weights[order[rank]];
      mass += kept[rank++];
    }
    return order[draw(kept, rank, mass, random)];
  }

  /** An index in proportion to the first weights, which add up to {@code mass}. */
  private static int draw(double[] weights, int count, double mass, SplittableRandom random) {
    double at = random.nextDouble() * mass;
    int i = 0;
    while (i < count - 1 && at >= weights[i]) {
      at -= weights[i++];
    }
    return i;
  }

  /** All ids, most probable first, the lowest id among equals. */
  private int[] ranked() {
    long[] keys = new long[probabilities.length];
    for (int id = 0; id < keys.length; id++) {
      // Positive floats order as their bits do; complemented, the most probable come first.
      keys[id] = (long) ~Float.floatToRawIntBits(probabilities[id]) << 32 | id;
    }
    Arrays.sort(keys);
    return Arrays.stream(keys).mapToInt(key -> (int) key).toArray();
  }
}
