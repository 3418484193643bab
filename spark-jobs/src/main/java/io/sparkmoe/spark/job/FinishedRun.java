package io.sparkmoe.spark.job;

import io.sparkmoe.train.RunResult;
import java.util.List;

/**
 * A run that came to its end.
 *
 * @param result what the coordinator saw
 * @param executors ranks on Spark, 0 = in this process
 * @param stageAttempts attempts that the barrier stage took, 1 when nothing failed
 * @param remarks what a user should know of its end, one sentence each
 */
record FinishedRun(RunResult result, int executors, int stageAttempts, List<String> remarks) {}
