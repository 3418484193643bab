package io.sparkmoe.spark.cluster;

import java.time.Duration;

/**
 * How a run appears in Spark and how long its ends wait for each other.
 *
 * @param description shown as the job's description in Spark's web UI, such as "train quickstart"
 * @param deadline longest wait for a frame or for a rank to join, at least 1 s
 * @param closing longest that the driver's task may go on when all ranks have ended, as with the
 *     commit of the last checkpoint
 */
public record RunSettings(String description, Duration deadline, Duration closing) {

  public RunSettings {
    if (deadline.compareTo(Duration.ofSeconds(1)) < 0) {
      throw new IllegalArgumentException(
          "a run's deadline must be at least 1 s, got " + deadline.toMillis() + " ms");
    }
  }
}
