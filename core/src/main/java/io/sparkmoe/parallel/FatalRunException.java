package io.sparkmoe.parallel;

/**
 * A failure that another attempt would only repeat, such as bad input or a loss that is not finite.
 * Thrown by a rank or by the driver, it ends the run without a retry; its message, one sentence,
 * reaches the user.
 */
public final class FatalRunException extends RuntimeException {

  public FatalRunException(String message) {
    super(message);
  }

  public FatalRunException(String message, Throwable cause) {
    super(message, cause);
  }
}
