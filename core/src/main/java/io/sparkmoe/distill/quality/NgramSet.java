package io.sparkmoe.distill.quality;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;

/**
 * The 8-word sequences of an evaluation set. A training text that shares one with it would make the
 * evaluation look better than it is. Words are compared without case and punctuation.
 */
public final class NgramSet implements Serializable {

  /** Words of a sequence, as in DeepSeek's and open-r1's decontamination. */
  public static final int WORDS = 8;

  private static final String BETWEEN_WORDS = "[^\\p{L}\\p{N}]+";

  private static final long serialVersionUID = 1;

  private final HashSet<String> ngrams = new HashSet<>();

  /** Adds the sequences of a text; one with fewer words has none. */
  public void add(String text) {
    ngrams.addAll(ngramsOf(text));
  }

  /** Adds sequences that {@link #ngramsOf} gave. */
  public void addAll(Iterable<String> sequences) {
    sequences.forEach(ngrams::add);
  }

  public int size() {
    return ngrams.size();
  }

  /** Whether the text shares a sequence with the set. */
  public boolean touches(String text) {
    return !ngrams.isEmpty() && ngramsOf(text).stream().anyMatch(ngrams::contains);
  }

  /** The sequences of a text. */
  public static List<String> ngramsOf(String text) {
    String[] words = words(text).split(" ");
    List<String> found = new ArrayList<>();
    for (int i = 0; i + WORDS <= words.length; i++) {
      found.add(String.join(" ", List.of(words).subList(i, i + WORDS)));
    }
    return found;
  }

  /** A text's words in lower case, one space between them. */
  private static String words(String text) {
    return text.toLowerCase(Locale.ROOT).replaceAll(BETWEEN_WORDS, " ").strip();
  }
}
