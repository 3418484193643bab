package io.sparkmoe.spark.cluster;

/**
 * A failure that another attempt would only repeat, such as bad input or a loss that is not finite.
 * Thrown by a rank or by the driver's task, it ends the job without a retry and its message, one
 * sentence, reaches the caller of {@link BarrierRun}.
 */
public final class FatalRunException extends RuntimeException {

  public FatalRunException(String message) {
    super(message);
  }

  public FatalRunException(String message, Throwable cause) {
    super(message, cause);
  }
}
