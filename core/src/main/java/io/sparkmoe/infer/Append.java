package io.sparkmoe.infer;

/**
 * Tokens to add to a sequence.
 *
 * @param cache of the sequence
 * @param tokens ids, at least one
 */
public record Append(LatentCache cache, int... tokens) {

  public Append {
    if (tokens.length == 0) {
      throw new IllegalArgumentException("at least one token must be appended, got none");
    }
  }
}
