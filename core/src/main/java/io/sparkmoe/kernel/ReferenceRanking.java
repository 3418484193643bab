package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;

/** {@link Kernels#rankTokens} in plain loops. Legend as in {@link Kernels}. */
final class ReferenceRanking {

  private ReferenceRanking() {}

  static void rankTokens(
      TeacherTargets ranked, Tensor given, Tensor logits, Tensor targets, int numTokens) {
    int c = logits.cols();
    int k = ranked.topK();
    for (int t = 0; t < targets.size(); t++) {
      double largest = Double.NEGATIVE_INFINITY;
      for (int j = 0; j < c; j++) {
        largest = Math.max(largest, logits.get(t * c + j));
      }
      boolean[] stored = new boolean[c];
      for (int rank = 0; rank < k; rank++) {
        int best = -1;
        for (int j = 0; j < numTokens; j++) {
          if (!stored[j] && (best < 0 || logits.get(t * c + j) > logits.get(t * c + best))) {
            best = j;
          }
        }
        stored[best] = true;
        ranked.ids().setInt(t * k + rank, best);
      }
      double sum = 0;
      double tail = 0;
      for (int j = 0; j < c; j++) {
        double e = Math.exp(logits.get(t * c + j) - largest);
        sum += e;
        tail += stored[j] ? 0 : e;
      }
      // log p[j] = x[j] - max - log(sum_i exp(x[i] - max))
      double logSum = largest + Math.log(sum);
      for (int rank = 0; rank < k; rank++) {
        int id = ranked.ids().getInt(t * k + rank);
        ranked.logProbabilities().set(t * k + rank, logits.get(t * c + id) - logSum);
      }
      ranked.tailLogMass().set(t, largest + Math.log(tail) - logSum);
      int target = targets.getInt(t);
      given.set(t, target < 0 ? 0 : logits.get(t * c + target) - logSum);
    }
  }
}
