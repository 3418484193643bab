package io.sparkmoe.data;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** The built-in tokenizer that needs no file: id = UTF-8 byte, and 256 ends a document. */
public final class ByteTokenizer implements Tokenizer {

  private static final int NUM_BYTES = 256;

  private final String json;

  public ByteTokenizer() {
    List<String> vocabulary = new ArrayList<>(NUM_BYTES);
    for (int b = 0; b < NUM_BYTES; b++) {
      vocabulary.add(String.valueOf(ByteLevelAlphabet.characterOf(b)));
    }
    json = TokenizerJson.write(vocabulary, List.of());
  }

  @Override
  public int vocabSize() {
    return NUM_BYTES + 1;
  }

  @Override
  public int endOfTextId() {
    return NUM_BYTES;
  }

  @Override
  public int[] encode(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    int[] ids = new int[bytes.length];
    for (int i = 0; i < bytes.length; i++) {
      ids[i] = Byte.toUnsignedInt(bytes[i]);
    }
    return ids;
  }

  @Override
  public String decode(int... ids) {
    byte[] bytes = new byte[ids.length];
    int n = 0;
    for (int id : ids) {
      if (id < 0 || id > NUM_BYTES) {
        throw new IllegalArgumentException(
            "token id must be in [0, vocabSize=" + vocabSize() + "), got " + id);
      }
      if (id < NUM_BYTES) {
        bytes[n++] = (byte) id;
      }
    }
    return new String(bytes, 0, n, StandardCharsets.UTF_8);
  }

  @Override
  public String toJson() {
    return json;
  }

  @Override
  public String sha256() {
    return TokenizerJson.sha256(json);
  }

  @Override
  public void close() {}
}
