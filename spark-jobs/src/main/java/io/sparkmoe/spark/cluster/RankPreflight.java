package io.sparkmoe.spark.cluster;

import io.sparkmoe.parallel.FatalRunException;

/**
 * What can only be checked where a rank runs; a failure ends the run, because another attempt would
 * repeat it.
 */
final class RankPreflight {

  private RankPreflight() {}

  static void check(RankContext context) {
    check(context, System.getenv("OMP_NUM_THREADS"), Preflight.hasVectorModule());
  }

  static void check(RankContext context, String ompNumThreads, boolean hasVectorModule) {
    String where = "executor " + context.executorId() + " on " + context.host();
    if (!"1".equals(ompNumThreads)) {
      throw new FatalRunException(
          "OMP_NUM_THREADS is "
              + (ompNumThreads == null ? "not set" : ompNumThreads)
              + " in "
              + where
              + ", expected 1; set spark.executorEnv.OMP_NUM_THREADS=1 (with --master local[n]:"
              + " export it)");
    }
    if (!hasVectorModule) {
      throw new FatalRunException(
          where
              + " runs without the module jdk.incubator.vector; add"
              + " --add-modules=jdk.incubator.vector to"
              + " spark.executor.extraJavaOptions");
    }
  }
}
