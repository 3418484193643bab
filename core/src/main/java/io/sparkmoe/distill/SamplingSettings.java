package io.sparkmoe.distill;

import java.io.Serializable;

/**
 * How a teacher is to answer.
 *
 * @param maxTokens tokens of an answer at most
 * @param temperature 0 = greedy, 1 = the model's own distribution
 * @param topP nucleus to sample from, in (0, 1], 1 = everything
 * @param topK alternatives to keep for each token, 0 = none; it does not limit the sampling
 * @param seed of the sampling; requests derive their own from it
 */
public record SamplingSettings(int maxTokens, double temperature, double topP, int topK, long seed)
    implements Serializable {

  public SamplingSettings {
    require(maxTokens >= 1, "max tokens must be at least 1, got " + maxTokens);
    require(
        temperature >= 0 && temperature <= 100,
        "temperature must be in [0, 100], got " + temperature);
    require(topP > 0 && topP <= 1, "top-p must be in (0, 1], got " + topP);
    require(topK >= 0, "top-k must be at least 0, got " + topK);
  }

  private static void require(boolean holds, String message) {
    if (!holds) {
      throw new IllegalArgumentException(message);
    }
  }
}
