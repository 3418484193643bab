package io.sparkmoe.distill.http;

import io.sparkmoe.distill.SamplingSettings;
import java.io.Serializable;

/**
 * How an endpoint is asked. Limits are those of one asker: several share a host's by dividing them.
 *
 * @param endpoint where
 * @param model name to ask for
 * @param key secret to show
 * @param sampling how it is to answer
 * @param concurrency requests under way at most
 * @param requestsPerSecond requests started per second at most; 0 = no limit
 * @param retry what happens to failed ones
 * @param budget what may be spent
 */
public record HttpTeacherSettings(
    Endpoint endpoint,
    String model,
    ApiKey key,
    SamplingSettings sampling,
    int concurrency,
    double requestsPerSecond,
    RetryPolicy retry,
    BudgetLimits budget)
    implements Serializable {

  public HttpTeacherSettings {
    if (concurrency < 1) {
      throw new IllegalArgumentException("--concurrency must be at least 1, got " + concurrency);
    }
    if (!(requestsPerSecond >= 0)) {
      throw new IllegalArgumentException("--rate must be at least 0, got " + requestsPerSecond);
    }
  }

  /** The same with the limits of one of several askers. */
  public HttpTeacherSettings withLimits(int ownConcurrency, double ownRate, BudgetLimits own) {
    return new HttpTeacherSettings(
        endpoint, model, key, sampling, ownConcurrency, ownRate, retry, own);
  }
}
