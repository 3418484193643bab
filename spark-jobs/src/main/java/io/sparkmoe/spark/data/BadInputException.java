package io.sparkmoe.spark.data;

import java.util.Optional;

/**
 * Input that cannot be used, found while a task reads it; the message is one sentence that names
 * the place.
 */
public final class BadInputException extends IllegalArgumentException {

  public BadInputException(String message) {
    super(message);
  }

  public BadInputException(String message, Throwable cause) {
    super(message, cause);
  }

  /** The bad input behind a failed Spark job, thrown in a task or on the driver. */
  public static Optional<BadInputException> causeOf(Throwable failure) {
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      if (cause instanceof BadInputException bad) {
        return Optional.of(bad);
      }
    }
    return Optional.empty();
  }
}
