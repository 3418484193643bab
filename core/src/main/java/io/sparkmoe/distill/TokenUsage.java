package io.sparkmoe.distill;

import java.io.Serializable;

/**
 * Tokens that a teacher's owner counts, and charges for.
 *
 * @param promptTokens tokens read
 * @param completionTokens tokens written, reasoning included
 */
public record TokenUsage(long promptTokens, long completionTokens) implements Serializable {

  /** Nothing at all. */
  public static final TokenUsage NONE = new TokenUsage(0, 0);

  /** Both together. */
  public TokenUsage plus(TokenUsage other) {
    return new TokenUsage(
        promptTokens + other.promptTokens, completionTokens + other.completionTokens);
  }

  /** Tokens of both kinds. */
  public long total() {
    return promptTokens + completionTokens;
  }
}
