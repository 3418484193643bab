package io.sparkmoe.distill.http;

import java.io.Serializable;
import java.time.Duration;
import java.util.SplittableRandom;

/**
 * How often and how soon a request is repeated.
 *
 * @param maxAttempts tries of a request, the first included
 * @param firstBackoff mean wait before the second try; doubles with every further one
 * @param maxBackoff wait at most
 * @param timeout of one try, from sending to the last byte
 */
public record RetryPolicy(
    int maxAttempts, Duration firstBackoff, Duration maxBackoff, Duration timeout)
    implements Serializable {

  public RetryPolicy {
    if (maxAttempts < 1) {
      throw new IllegalArgumentException("max attempts must be at least 1, got " + maxAttempts);
    }
    if (timeout.isNegative() || timeout.isZero()) {
      throw new IllegalArgumentException("timeout must be above 0, got " + timeout);
    }
  }

  /**
   * The wait after a failed try: exponential, spread evenly over [1/2, 3/2) of its mean, so that
   * requests that failed together do not return together.
   *
   * @param attempt that failed, from 1
   */
  Duration backoff(int attempt, SplittableRandom random) {
    double mean = firstBackoff.toMillis() * Math.pow(2, Math.min(attempt - 1, 30));
    double millis = Math.min(mean, maxBackoff.toMillis()) * (0.5 + random.nextDouble());
    return Duration.ofMillis((long) Math.min(millis, maxBackoff.toMillis()));
  }
}
