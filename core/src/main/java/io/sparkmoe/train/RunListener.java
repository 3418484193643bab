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

  /**
   * A step is done but for the commit of its checkpoint. What is to be known of a step that a run
   * can resume from must be kept before this returns.
   *
   * @param checkpoint whether its checkpoint is committed next
   */
  default void onMetrics(StepMetrics metrics, boolean checkpoint) {}

  /** A step is done, its evaluation and checkpoint included. */
  default void onStep(StepMetrics metrics) {}
}
