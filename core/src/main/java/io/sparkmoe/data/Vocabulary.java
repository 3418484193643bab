package io.sparkmoe.data;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Iterator;
import java.util.Map;

/**
 * The tokens of a tokenizer as the bytes that they stand for, to find the id of a token that is
 * known by its text only.
 */
public final class Vocabulary {

  /** Latin-1 text of a token's bytes, one character a byte: a byte[] is no key. */
  private final Map<String, Integer> idOfBytes = new HashMap<>();

  private final int size;

  /** Reads the tokens of a tokenizer. */
  public Vocabulary(Tokenizer tokenizer) {
    size = tokenizer.vocabSize();
    JsonNode root = TokenizerJson.read(tokenizer.toJson());
    Iterator<Map.Entry<String, JsonNode>> tokens = root.path("model").path("vocab").fields();
    while (tokens.hasNext()) {
      Map.Entry<String, JsonNode> token = tokens.next();
      String bytes = bytesOf(token.getKey());
      if (bytes != null) {
        idOfBytes.put(bytes, token.getValue().asInt());
      }
    }
    // Added tokens are written as they are, and stand before an ordinary one of the same text.
    for (JsonNode token : root.path("added_tokens")) {
      byte[] text = token.path("content").asText().getBytes(StandardCharsets.UTF_8);
      idOfBytes.put(latin1(text), token.path("id").asInt());
    }
  }

  /** Number of ids, special ones included. */
  public int size() {
    return size;
  }

  /** The id of the token that stands for these bytes, or -1. */
  public int idOf(byte[] bytes) {
    return idOfBytes.getOrDefault(latin1(bytes), -1);
  }

  private static String latin1(byte[] bytes) {
    return new String(bytes, StandardCharsets.ISO_8859_1);
  }

  /** Null when a character is not of the alphabet, as in special tokens. */
  private static String bytesOf(String token) {
    StringBuilder bytes = new StringBuilder(token.length());
    for (int i = 0; i < token.length(); i++) {
      int value = ByteLevelAlphabet.byteOf(token.charAt(i));
      if (value < 0) {
        return null;
      }
      bytes.append((char) value);
    }
    return bytes.toString();
  }
}
