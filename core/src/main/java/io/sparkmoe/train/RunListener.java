package io.sparkmoe.train;

/** Told of a run's progress on the driver, in the coordinator's thread. */
public interface RunListener {

  /** All ranks are ready; training begins after that step. */
  default void onStart(int resumedFromStep, java.util.List<String> notes) {}

  /** A step is done, its evaluation and checkpoint included. */
  default void onStep(StepMetrics metrics) {}
}
