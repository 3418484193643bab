package io.sparkmoe.data;

import java.util.HashMap;
import java.util.Map;

/** Counts the pre-tokenised words of a text: what BPE is trained on. */
public final class WordCounts {

  private final Map<String, Long> counts = new HashMap<>();

  /** Counts the words of a text. */
  public void add(String text) {
    PreTokenizer.split(text, word -> counts.merge(word, 1L, Long::sum));
  }

  /** Word to number of occurrences; a view. */
  public Map<String, Long> asMap() {
    return counts;
  }
}
