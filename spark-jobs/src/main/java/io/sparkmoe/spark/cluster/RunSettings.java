package io.sparkmoe.spark.cluster;

import java.time.Duration;

/**
 * How a run appears in Spark and how long its ends wait for each other.
 *
 * @param description shown as the job's description in Spark's web UI, such as "train quickstart"
 * @param deadline longest wait for a frame or for a rank to join, at least 1 s
 * @param driverWork longest that the driver's task may be at work by itself, as with the commit of
 *     a checkpoint, while the ranks of a new attempt wait for it or all ranks have ended
 */
public record RunSettings(String description, Duration deadline, Duration driverWork) {

  public RunSettings {
    if (deadline.compareTo(Duration.ofSeconds(1)) < 0) {
      throw new IllegalArgumentException(
          "a run's deadline must be at least 1 s, got " + deadline.toMillis() + " ms");
    }
  }
}
