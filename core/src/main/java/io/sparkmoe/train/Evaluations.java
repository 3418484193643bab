package io.sparkmoe.train;

import io.sparkmoe.train.protocol.StepEnd;
import io.sparkmoe.train.protocol.StepEnd.Evaluation;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Sums evaluations of several ranks. */
final class Evaluations {

  private Evaluations() {}

  /** The sum over all ranks, or null when none evaluated. */
  static Evaluation merge(List<StepEnd> ends) {
    double lossSum = 0;
    long targets = 0;
    boolean any = false;
    Map<Integer, Map<String, long[]>> expertTokens = new TreeMap<>();
    for (StepEnd end : ends) {
      if (end.evaluation() != null) {
        any = true;
        lossSum += end.evaluation().lossSum();
        targets += end.evaluation().targets();
        end.evaluation()
            .expertTokens()
            .forEach((layer, bySource) -> add(expertTokens, layer, bySource));
      }
    }
    return any ? new Evaluation(lossSum, targets, expertTokens) : null;
  }

  private static void add(
      Map<Integer, Map<String, long[]>> sums, int layer, Map<String, long[]> bySource) {
    Map<String, long[]> ofLayer = sums.computeIfAbsent(layer, key -> new TreeMap<>());
    bySource.forEach((source, counts) -> ofLayer.merge(source, counts.clone(), Evaluations::sum));
  }

  private static long[] sum(long[] a, long[] b) {
    long[] sum = a.clone();
    for (int i = 0; i < sum.length; i++) {
      sum[i] += b[i];
    }
    return sum;
  }
}
