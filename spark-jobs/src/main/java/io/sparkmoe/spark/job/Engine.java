package io.sparkmoe.spark.job;

/** Where the ranks of a run live. */
public enum Engine {
  /** One barrier task of a Spark application each. */
  SPARK,
  /** All in this process, without Spark. */
  LOCAL
}
