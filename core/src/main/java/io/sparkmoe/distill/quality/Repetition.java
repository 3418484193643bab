package io.sparkmoe.distill.quality;

import java.util.HashSet;
import java.util.Set;

/**
 * How much of a text repeats itself, measured over runs of characters so that it holds for
 * languages without spaces too. Ordinary prose stays below 0.2, source code and tables below 0.4; a
 * teacher that loops comes near 1.
 */
public final class Repetition {

  private static final int RUN = 16;

  /** Shorter texts are too short to loop: a list of a few like items is none. */
  private static final int MIN_CHARACTERS = 8 * RUN;

  private Repetition() {}

  /** Share of the text's runs of 16 characters that occurred in it before; 0 for short texts. */
  public static double shareOf(String text) {
    if (text.length() < MIN_CHARACTERS) {
      return 0;
    }
    Set<String> seen = new HashSet<>();
    int runs = text.length() - RUN + 1;
    int repeated = 0;
    for (int i = 0; i < runs; i++) {
      repeated += seen.add(text.substring(i, i + RUN)) ? 0 : 1;
    }
    return (double) repeated / runs;
  }
}
