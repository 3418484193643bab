package io.sparkmoe.data;

/** Text to token ids and back; thread-safe. */
public interface Tokenizer extends AutoCloseable {

  /** Number of ids, special ones included. */
  int vocabSize();

  /** Id that ends every document. */
  int endOfTextId();

  /** Ids of the text, without special tokens. */
  int[] encode(String text);

  /** Text of the ids, special tokens left out; incomplete UTF-8 becomes U+FFFD. */
  String decode(int... ids);

  /** The tokenizer as a Hugging Face tokenizer.json. */
  String toJson();

  /** SHA-256 of {@link #toJson} in hex: names the tokenizer in datasets and checkpoints. */
  String sha256();

  @Override
  void close();
}
