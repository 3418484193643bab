package io.sparkmoe.train;

import io.sparkmoe.io.Sha256;
import java.nio.charset.StandardCharsets;

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

  /**
   * Of a dataset.
   *
   * @param description text of the file beside its rows, null = there is none
   */
  public static DataIdentity of(String tokenizerSha256, String description) {
    return new DataIdentity(
        tokenizerSha256,
        description == null ? null : Sha256.hex(description.getBytes(StandardCharsets.UTF_8)));
  }
}
