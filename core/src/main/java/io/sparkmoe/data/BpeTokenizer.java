package io.sparkmoe.data;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import ai.djl.util.Utils;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * A ByteLevel-BPE tokenizer from a Hugging Face tokenizer.json, run by the same native code as
 * Python's {@code tokenizers} (through DJL), so both give the same ids.
 *
 * <p>The native library is unpacked from the jar into DJL's cache ({@code DJL_CACHE_DIR}, else
 * {@code ~/.djl.ai}) under a temporary name and moved into place at once, so JVMs that start
 * together do not see each other's halves.
 */
public final class BpeTokenizer implements Tokenizer {

  /**
   * Contents by which published tokenizers mark the end of a text, in the order they are looked
   * for.
   */
  private static final List<String> END_OF_TEXT_NAMES =
      List.of(
          Tokenizers.END_OF_TEXT,
          "<｜end▁of▁sentence｜>",
          "<|end_of_text|>",
          "</s>",
          "<eos>",
          "<|im_end|>");

  private final String json;
  private final int vocabSize;
  private final int endOfTextId;
  private final List<String> addedTokens = new ArrayList<>();
  private final HuggingFaceTokenizer nativeTokenizer;

  /** Use {@link Tokenizers#fromJson}. */
  BpeTokenizer(String json, JsonNode root) {
    this.json = json;
    int largestId = -1;
    for (JsonNode id : root.path("model").path("vocab")) {
      largestId = Math.max(largestId, id.asInt());
    }
    for (JsonNode token : root.path("added_tokens")) {
      largestId = Math.max(largestId, token.path("id").asInt());
      if (token.path("special").asBoolean()) {
        addedTokens.add(token.path("content").asText());
      }
    }
    vocabSize = largestId + 1;
    endOfTextId = endOfTextId(root.path("added_tokens"));
    nativeTokenizer = open(json);
  }

  private static int endOfTextId(JsonNode addedTokens) {
    for (String name : END_OF_TEXT_NAMES) {
      for (JsonNode token : addedTokens) {
        if (token.path("content").asText().equals(name)) {
          return token.path("id").asInt();
        }
      }
    }
    throw new IllegalArgumentException(
        "tokenizer has no end-of-text token among its added tokens, expected one of "
            + END_OF_TEXT_NAMES);
  }

  private static HuggingFaceTokenizer open(String json) {
    if (System.getProperty("ai.djl.offline") == null && Utils.getenv("DJL_OFFLINE") == null) {
      // Else DJL calls home and, where it sees a GPU, downloads another native library than the
      // jar's.
      System.setProperty("ai.djl.offline", "true");
    }
    Map<String, String> options =
        Map.of("addSpecialTokens", "false", "truncation", "false", "padding", "false");
    try (ByteArrayInputStream in =
        new ByteArrayInputStream(json.getBytes(StandardCharsets.UTF_8))) {
      return HuggingFaceTokenizer.newInstance(in, options);
    } catch (IOException | RuntimeException e) {
      // The native parser throws a bare RuntimeException.
      throw new IllegalArgumentException("tokenizer.json cannot be read: " + e.getMessage(), e);
    }
  }

  @Override
  public int vocabSize() {
    return vocabSize;
  }

  @Override
  public int endOfTextId() {
    return endOfTextId;
  }

  /**
   * {@inheritDoc} Where the text itself contains the name of a special token, it is cut inside the
   * name, so that it stays text: a document cannot smuggle in the end of a document.
   */
  @Override
  public int[] encode(String text) {
    int cut = firstCut(text, 0);
    if (cut < 0) {
      return nativeEncode(text);
    }
    List<int[]> parts = new ArrayList<>();
    int from = 0;
    for (; cut >= 0; cut = firstCut(text, from)) {
      parts.add(nativeEncode(text.substring(from, cut)));
      from = cut;
    }
    parts.add(nativeEncode(text.substring(from)));
    return parts.stream().flatMapToInt(IntStream::of).toArray();
  }

  /** Where to cut inside the first special name from there on, or -1. */
  private int firstCut(String text, int from) {
    int first = -1;
    for (String name : addedTokens) {
      int at = text.indexOf(name, from);
      if (at >= 0 && (first < 0 || at < first)) {
        first = at;
      }
    }
    return first < 0 ? -1 : text.offsetByCodePoints(first, 1);
  }

  private int[] nativeEncode(String text) {
    // DJL's own encode also fetches token texts, spans and masks, which takes most of its time.
    long encoding = TokenizersLibrary.LIB.encode(nativeTokenizer.getHandle(), text, false);
    long[] ids;
    try {
      ids = TokenizersLibrary.LIB.getTokenIds(encoding);
    } finally {
      TokenizersLibrary.LIB.deleteEncoding(encoding);
    }
    int[] narrow = new int[ids.length];
    for (int i = 0; i < ids.length; i++) {
      narrow[i] = (int) ids[i];
    }
    return narrow;
  }

  @Override
  public String decode(int... ids) {
    long[] wide = new long[ids.length];
    for (int i = 0; i < ids.length; i++) {
      if (ids[i] < 0 || ids[i] >= vocabSize) {
        throw new IllegalArgumentException(
            "token id must be in [0, vocabSize=" + vocabSize + "), got " + ids[i]);
      }
      wide[i] = ids[i];
    }
    return nativeTokenizer.decode(wide, true);
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
  public void close() {
    nativeTokenizer.close();
  }
}
