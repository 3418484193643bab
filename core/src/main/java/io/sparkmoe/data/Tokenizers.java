package io.sparkmoe.data;

import com.fasterxml.jackson.databind.JsonNode;

/** Opens tokenizers from their tokenizer.json. */
public final class Tokenizers {

  /** The special token that our own tokenizers end documents with. */
  public static final String END_OF_TEXT = "<|endoftext|>";

  private Tokenizers() {}

  /**
   * The tokenizer of a tokenizer.json.
   *
   * @throws IllegalArgumentException when the text is not a ByteLevel-BPE tokenizer.json with an
   *     end-of-text token
   */
  public static Tokenizer fromJson(String json) {
    JsonNode root = TokenizerJson.read(json);
    ByteTokenizer bytes = new ByteTokenizer();
    return bytes.toJson().equals(json) ? bytes : new BpeTokenizer(json, root);
  }
}
