package io.sparkmoe.train;

/**
 * What tells one dataset from another.
 *
 * @param tokenizerSha256 of its tokenizer.json in hex, null = not known
 * @param descriptionSha256 of the file beside its rows that counts them by source, in hex; null =
 *     not known
 */
public record DataIdentity(String tokenizerSha256, String descriptionSha256) {

  /** Nothing is known, and nothing is compared. */
  public static final DataIdentity UNKNOWN = new DataIdentity(null, null);
}
