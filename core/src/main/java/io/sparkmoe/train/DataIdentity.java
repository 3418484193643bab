package io.sparkmoe.train;

import io.sparkmoe.io.Sha256;
import java.nio.charset.StandardCharsets;

/**
 * What tells one dataset from another, as a run uses it.
 *
 * @param tokenizerSha256 of its tokenizer.json in hex, null = not known
 * @param descriptionSha256 of the text that counts its rows, such as the file beside them, in hex;
 *     null = not known
 * @param heldOutShare share of the rows that the run chose to hold out, null = the dataset itself
 *     says which rows are held out, or it is not known
 */
public record DataIdentity(String tokenizerSha256, String descriptionSha256, Double heldOutShare) {

  /** Nothing is known, and nothing is compared. */
  public static final DataIdentity UNKNOWN = new DataIdentity(null, null);

  /** Of a dataset that says itself which rows are held out. */
  public DataIdentity(String tokenizerSha256, String descriptionSha256) {
    this(tokenizerSha256, descriptionSha256, null);
  }

  /**
   * Of a dataset that says itself which rows are held out.
   *
   * @param description text that counts its rows, null = there is none
   */
  public static DataIdentity of(String tokenizerSha256, String description) {
    return new DataIdentity(
        tokenizerSha256,
        description == null ? null : Sha256.hex(description.getBytes(StandardCharsets.UTF_8)));
  }

  /** The same rows, of which the run holds out a share. */
  public DataIdentity withHeldOutShare(double share) {
    return new DataIdentity(tokenizerSha256, descriptionSha256, share);
  }
}
