/**
 * Ranks of a training run as tasks of one long Spark barrier stage, and the frames between them
 * over Spark's own network transport. Start at {@link io.sparkmoe.spark.cluster.BarrierRun}.
 */
package io.sparkmoe.spark.cluster;
