package io.sparkmoe.train;

/** The run cannot go on and a retry would not help; the message is one sentence for the user. */
public final class FailedRunException extends RuntimeException {

  public FailedRunException(String message) {
    super(message);
  }
}
