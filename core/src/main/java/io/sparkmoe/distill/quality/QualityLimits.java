package io.sparkmoe.distill.quality;

import java.io.Serializable;
import java.util.List;

/**
 * What an answer must be like to be learnt from. Text that the teacher was given is held to length,
 * language, contamination and duplicates only: it ended and repeats as its author meant it.
 *
 * @param finishReasons reasons to stop that are accepted; empty = any
 * @param minCharacters of the answer
 * @param maxCharacters of the answer; 0 = no limit
 * @param maxRepetition see {@link Repetition#shareOf}, in [0, 1]; 1 = anything
 * @param languages codes of the answer's language that are accepted; empty = any
 * @param duplicates whether only the first of equal answers to a prompt is kept
 */
public record QualityLimits(
    List<String> finishReasons,
    int minCharacters,
    int maxCharacters,
    double maxRepetition,
    List<String> languages,
    boolean duplicates)
    implements Serializable {

  public QualityLimits {
    finishReasons = List.copyOf(finishReasons);
    languages = List.copyOf(languages);
    if (minCharacters < 0 || maxCharacters < 0) {
      throw new IllegalArgumentException(
          "--min-chars and --max-chars must be at least 0, got "
              + minCharacters
              + " and "
              + maxCharacters);
    }
    if (!(maxRepetition >= 0 && maxRepetition <= 1)) {
      throw new IllegalArgumentException(
          "--max-repetition must be in [0, 1], got " + maxRepetition);
    }
  }
}
