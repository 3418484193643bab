package io.sparkmoe.parallel;

/** Another end has failed or its connection is gone; the message names it and, where known, why. */
public final class RankLostException extends RuntimeException {

  public RankLostException(String message) {
    super(message);
  }

  public RankLostException(String message, Throwable cause) {
    super(message, cause);
  }
}
