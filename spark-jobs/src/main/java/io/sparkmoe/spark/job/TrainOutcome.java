package io.sparkmoe.spark.job;

import io.sparkmoe.train.RunResult;
import io.sparkmoe.train.RunSummary;

/**
 * What a training job hands on.
 *
 * @param result of the run; without steps when its folder held a finished run already
 * @param summary as in its summary.json
 */
public record TrainOutcome(RunResult result, RunSummary summary) {}
