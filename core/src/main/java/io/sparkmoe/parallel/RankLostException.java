package io.sparkmoe.parallel;

/** Another end has failed or its connection is gone; the message names it and, where known, why. */
public final class RankLostException extends RuntimeException {

  private final Failure failure;

  public RankLostException(String message) {
    this(message, (Failure) null);
  }

  public RankLostException(String message, Throwable cause) {
    super(message, cause);
    this.failure = null;
  }

  /**
   * @param failure of the end that is lost
   */
  public RankLostException(String message, Failure failure) {
    super(message);
    this.failure = failure;
  }

  /** The failure to pass on to other ends, or null when nothing is known of the lost one. */
  public Failure failure() {
    return failure;
  }
}
