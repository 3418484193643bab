package io.sparkmoe.spark.cluster;

/**
 * The cluster cannot hold the run; the message names the setting to change, its value and the value
 * needed.
 */
public final class PreflightException extends IllegalArgumentException {

  PreflightException(String message) {
    super(message);
  }
}
