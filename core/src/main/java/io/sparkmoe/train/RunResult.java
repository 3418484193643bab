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
 * @param weightsSha256 of the weights, null when no checkpoint was written
 * @param metrics one entry for each step of this run, none when it only ended an earlier one
 */
public record RunResult(
    int steps,
    long tokens,
    int resumedFromStep,
    Evaluation evaluation,
    String weightsSha256,
    List<StepMetrics> metrics) {

  /** The same with other steps' metrics. */
  public RunResult withMetrics(List<StepMetrics> others) {
    return new RunResult(steps, tokens, resumedFromStep, evaluation, weightsSha256, others);
  }
}
