package io.sparkmoe.spark.data;

import io.sparkmoe.data.BpeTrainer;
import io.sparkmoe.data.ByteTokenizer;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.data.Tokenizers;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.function.Supplier;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/**
 * The value of {@code --tokenizer}: {@code byte}, {@code bpe:SIZE}, or the path of a
 * tokenizer.json.
 */
public final class TokenizerSpec {

  private static final String BYTE = "byte";
  private static final String BPE_PREFIX = "bpe:";

  /** Beyond this, training takes minutes and the extra tokens are hardly ever used. */
  private static final int MAX_TRAINED_VOCAB_SIZE = 1 << 18;

  private final int bpeSize;
  private final Tokenizer given;

  private TokenizerSpec(int bpeSize, Tokenizer given) {
    this.bpeSize = bpeSize;
    this.given = given;
  }

  /**
   * Checks the value, and reads the file when it is one, before any input is read.
   *
   * @throws IllegalArgumentException when it is neither, or not a ByteLevel-BPE tokenizer.json
   */
  public static TokenizerSpec parse(String value, Configuration configuration) throws IOException {
    if (value.equals(BYTE)) {
      return new TokenizerSpec(0, new ByteTokenizer());
    }
    if (value.startsWith(BPE_PREFIX)) {
      return new TokenizerSpec(bpeSize(value), null);
    }
    Path path = new Path(value);
    try (InputStream in = path.getFileSystem(configuration).open(path)) {
      return new TokenizerSpec(
          0, Tokenizers.fromJson(new String(in.readAllBytes(), StandardCharsets.UTF_8)));
    } catch (FileNotFoundException e) {
      throw new IllegalArgumentException(
          "tokenizer \""
              + value
              + "\" is no such file, expected byte, bpe:SIZE or the path of a tokenizer.json",
          e);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(value + ": " + e.getMessage(), e);
    }
  }

  private static int bpeSize(String value) {
    int size;
    try {
      size = Integer.parseInt(value.substring(BPE_PREFIX.length()));
    } catch (NumberFormatException e) {
      size = -1;
    }
    if (size < BpeTrainer.MIN_VOCAB_SIZE || size > MAX_TRAINED_VOCAB_SIZE) {
      throw new IllegalArgumentException(
          "tokenizer must be bpe:SIZE with SIZE in ["
              + BpeTrainer.MIN_VOCAB_SIZE
              + ", "
              + MAX_TRAINED_VOCAB_SIZE
              + "], got "
              + value);
    }
    return size;
  }

  /** The tokenizer, trained first for {@code bpe:SIZE}. */
  public Tokenizer open(Supplier<Map<String, Long>> wordCounts) {
    return given != null ? given : Tokenizers.fromJson(BpeTrainer.train(wordCounts.get(), bpeSize));
  }
}
