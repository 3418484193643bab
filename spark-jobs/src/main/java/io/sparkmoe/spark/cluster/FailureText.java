package io.sparkmoe.spark.cluster;

import io.sparkmoe.parallel.RankLateException;
import io.sparkmoe.parallel.RankLostException;

/**
 * What is said of a failure to the other ends: the message, with the type where the message alone
 * tells little.
 */
final class FailureText {

  private FailureText() {}

  static String of(Throwable failure) {
    boolean selfExplaining =
        failure instanceof RankLostException
            || failure instanceof RankLateException
            || failure instanceof FatalRunException;
    return selfExplaining ? failure.getMessage() : failure.toString();
  }
}
