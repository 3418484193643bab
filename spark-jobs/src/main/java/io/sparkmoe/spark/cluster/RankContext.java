package io.sparkmoe.spark.cluster;

/**
 * Where a rank runs.
 *
 * @param rank in [0, numRanks)
 * @param numRanks ranks of the run
 * @param attempt 0 for the first attempt of the stage
 * @param executorId Spark's name of the executor
 * @param host the executor's host
 * @param numThreads threads that the rank may keep busy: {@code spark.task.cpus}
 */
public record RankContext(
    int rank, int numRanks, int attempt, String executorId, String host, int numThreads) {}
