package io.sparkmoe.parallel;

/**
 * Which end of a group failed and why, as the ends tell each other. It stays the same however often
 * it is passed on, so the culprit is named whoever is heard first.
 *
 * @param rank the end that failed, or {@link Communicator#DRIVER}
 * @param reason one sentence, without the rank's name
 */
public record Failure(int rank, String reason) {

  /**
   * What an end tells the others when its own work has thrown: the failure of the end that it lost,
   * else its own, with the type where the message alone tells little.
   *
   * @param self the end that tells
   */
  public static Failure of(int self, Throwable thrown) {
    if (thrown instanceof RankLostException lost && lost.failure() != null) {
      return lost.failure();
    }
    return new Failure(self, sentence(thrown));
  }

  /** The message alone where it explains itself. */
  public static String sentence(Throwable thrown) {
    boolean selfExplaining =
        thrown instanceof RankLostException
            || thrown instanceof RankLateException
            || thrown instanceof FatalRunException;
    return selfExplaining ? thrown.getMessage() : thrown.toString();
  }
}
