package io.sparkmoe.train;

import io.sparkmoe.train.protocol.StepEnd.Evaluation;
import java.util.List;

/**
 * How a run ended.
 *
 * @param steps last step
 * @param tokens tokens trained on, earlier runs included
 * @param resumedFromStep step that this run started after, 0 = the beginning
 * @param evaluation of the last step, null without validation rows
 * @param checkpointStep step of the last checkpoint, 0 when nothing was written
 * @param weightsSha256 of its weights, null when nothing was written
 * @param metrics one entry for each step of this run
 */
public record RunResult(
    int steps,
    long tokens,
    int resumedFromStep,
    Evaluation evaluation,
    int checkpointStep,
    String weightsSha256,
    List<StepMetrics> metrics) {}
