package io.sparkmoe.infer;

import io.sparkmoe.data.Tokenizer;
import java.util.Arrays;
import java.util.List;

/**
 * Turns tokens into text piece by piece. A piece is held back while it may still change: while a
 * character's bytes are incomplete, and while the end of the text may become a stop string.
 */
final class TextStream {

  /** What tokenizers write for bytes that are no character, or none yet. */
  private static final char REPLACEMENT = '\uFFFD';

  private final Tokenizer tokenizer;
  private final List<String> stops;
  private int[] ids = new int[64];
  private int numIds;

  /** Ids before it gave the text up to {@link #decodedTo}; they are decoded along, as a context. */
  private int windowStart;

  private int decodedTo;

  /** Decoded text that was not handed out yet. */
  private final StringBuilder held = new StringBuilder();

  private boolean stopped;

  TextStream(Tokenizer tokenizer, List<String> stops) {
    this.tokenizer = tokenizer;
    this.stops = stops;
  }

  /** Whether a stop string was met; what follows it is dropped. */
  boolean isStopped() {
    return stopped;
  }

  /** Adds a token and returns the text that is certain now, maybe none. */
  String add(int id) {
    if (id >= tokenizer.vocabSize()) {
      // The model's vocabulary is padded beyond the tokenizer's: an id that means nothing.
      return "";
    }
    if (numIds == ids.length) {
      ids = Arrays.copyOf(ids, 2 * numIds);
    }
    ids[numIds++] = id;
    String text = undecoded();
    if (text.isEmpty() || text.charAt(text.length() - 1) == REPLACEMENT) {
      return "";
    }
    accept(text);
    return handOut(false);
  }

  /** The rest of the text. */
  String end() {
    accept(undecoded());
    return handOut(true);
  }

  /** Text of the ids that were not decoded yet. */
  private String undecoded() {
    String before = tokenizer.decode(Arrays.copyOfRange(ids, windowStart, decodedTo));
    String all = tokenizer.decode(Arrays.copyOfRange(ids, windowStart, numIds));
    return all.length() > before.length() ? all.substring(before.length()) : "";
  }

  private void accept(String text) {
    held.append(text);
    windowStart = decodedTo;
    decodedTo = numIds;
  }

  private String handOut(boolean all) {
    if (stopped) {
      return "";
    }
    int end = firstStop();
    if (end >= 0) {
      stopped = true;
    } else {
      end = all ? held.length() : held.length() - longestStart();
    }
    String piece = held.substring(0, end);
    held.delete(0, end);
    return piece;
  }

  private int firstStop() {
    int first = -1;
    for (String stop : stops) {
      int at = held.indexOf(stop);
      if (at >= 0 && (first < 0 || at < first)) {
        first = at;
      }
    }
    return first;
  }

  /** Length of the longest end of the held text that starts a stop string. */
  private int longestStart() {
    int longest = 0;
    for (String stop : stops) {
      for (int n = Math.min(stop.length() - 1, held.length()); n > longest; n--) {
        if (stop.startsWith(held.substring(held.length() - n))) {
          longest = n;
        }
      }
    }
    return longest;
  }
}
