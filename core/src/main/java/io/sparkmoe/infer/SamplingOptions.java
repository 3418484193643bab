package io.sparkmoe.infer;

/**
 * How tokens are chosen.
 *
 * @param temperature divides the logits; 0 = always the likeliest token
 * @param topK only the likeliest so many tokens may be chosen; 0 = all
 * @param topP only the likeliest tokens that together reach this probability may be chosen, applied
 *     after topK; 1 = all
 * @param seed of the random numbers; the same prompt, options and seed give the same text whatever
 *     stands beside it in a batch
 */
public record SamplingOptions(double temperature, int topK, double topP, long seed) {

  /** Always the likeliest token. */
  public static final SamplingOptions GREEDY = new SamplingOptions(0, 0, 1, 0);

  public SamplingOptions {
    if (!(temperature >= 0 && temperature < Double.POSITIVE_INFINITY)) {
      throw new IllegalArgumentException(
          "temperature must be >= 0 (0 = the likeliest token), got " + temperature);
    }
    if (topK < 0) {
      throw new IllegalArgumentException("top-k must be >= 0 (0 = all tokens), got " + topK);
    }
    if (!(topP > 0 && topP <= 1)) {
      throw new IllegalArgumentException("top-p must be in (0, 1], got " + topP);
    }
  }

  /** Whether the likeliest token is always chosen. */
  public boolean isGreedy() {
    return temperature == 0;
  }

  /** The same with another seed. */
  public SamplingOptions withSeed(long other) {
    return new SamplingOptions(temperature, topK, topP, other);
  }
}
