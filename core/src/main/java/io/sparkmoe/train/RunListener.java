package io.sparkmoe.train;

import java.util.List;

/** Told of a run's progress on the driver, in the coordinator's thread. */
public interface RunListener {

  /**
   * All ranks are ready; training begins after that step.
   *
   * @param resumedFromStep step of the checkpoint that the run goes on from, 0 = the beginning
   * @param notes what a user should know, one sentence each
   */
  default void onStart(int resumedFromStep, List<String> notes) {}

  /** A step is done, its evaluation and checkpoint included. */
  default void onStep(StepMetrics metrics) {}
}
