package io.sparkmoe.spark.cluster;

/**
 * Spark gave the run up after its last attempt; the message says how often it was tried and why it
 * failed last.
 */
public final class RunFailedException extends RuntimeException {

  RunFailedException(String message, Throwable cause) {
    super(message, cause);
  }
}
