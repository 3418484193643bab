package io.sparkmoe.parallel;

/**
 * A frame did not come before its deadline; the message names the late rank, where it runs, step
 * and phase.
 */
public final class RankLateException extends RuntimeException {

  public RankLateException(String message) {
    super(message);
  }
}
