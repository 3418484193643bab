package io.sparkmoe.distill.dl4j;

import java.util.SplittableRandom;

/** Probabilities of the next token as a softmax gave them. */
final class Distribution {

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
    int[] order = mostProbable(probabilities.length);
    double[] weights = new double[order.length];
    double total = 0;
    for (int rank = 0; rank < order.length; rank++) {
      weights[rank] = Math.pow(probabilities[order[rank]], 1 / temperature);
      total += weights[rank];
    }
    int kept = 0;
    double mass = 0;
    while (kept < order.length && (kept == 0 || mass < topP * total)) {
      mass += weights[kept++];
    }
    double at = random.nextDouble() * mass;
    int rank = 0;
    while (rank < kept - 1 && at >= weights[rank]) {
      at -= weights[rank++];
    }
    return order[rank];
  }
}
