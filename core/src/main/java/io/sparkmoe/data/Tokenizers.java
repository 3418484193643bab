package io.sparkmoe.data;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;

/** Opens tokenizers from their tokenizer.json. */
public final class Tokenizers {

  /** The special token that our own tokenizers end documents with. */
  public static final String END_OF_TEXT = "<|endoftext|>";

  private Tokenizers() {}

  /**
   * A tokenizer of single characters: one id for each UTF-8 byte that the text has, in ascending
   * order, and one that ends documents.
   */
  public static Tokenizer ofCharacters(String text) {
    boolean[] used = new boolean[256];
    for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
      used[Byte.toUnsignedInt(b)] = true;
    }
    List<String> vocabulary =
        IntStream.range(0, used.length)
            .filter(b -> used[b])
            .mapToObj(b -> String.valueOf(ByteLevelAlphabet.characterOf(b)))
            .toList();
    return fromJson(TokenizerJson.write(vocabulary, List.of()));
  }

  /**
   * A tokenizer of single characters whose ids somebody else has given: the id of a character is
   * its place, and the end of documents follows the last.
   *
   * @param characters distinct and of ASCII: others take several bytes each
   */
  public static Tokenizer ofCharactersInOrder(String characters) {
    List<String> vocabulary = new ArrayList<>();
    for (int i = 0; i < characters.length(); i++) {
      char character = characters.charAt(i);
      if (character > 0x7F || characters.indexOf(character) < i) {
        throw new IllegalArgumentException(
            String.format(
                Locale.ROOT,
                "characters of a vocabulary must be distinct and of ASCII, got U+%04X as number %d",
                (int) character,
                i));
      }
      vocabulary.add(String.valueOf(ByteLevelAlphabet.characterOf(character)));
    }
    return fromJson(TokenizerJson.write(vocabulary, List.of()));
  }

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
