package io.sparkmoe.spark.data;

import io.sparkmoe.distill.TokenUsage;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A file of answers, as its name tells it. A writer numbers its files; one that it joined others
 * into has their numbers, so that a listing shows which files are left over when the writer died
 * before it deleted them.
 *
 * @param name in its folder
 * @param writer who wrote it
 * @param first number of the first file that it stands for
 * @param last number of the last one, itself where none were joined
 * @param answers in it
 * @param usage what they cost
 */
record AnswerFile(String name, String writer, int first, int last, long answers, TokenUsage usage) {

  /** Files of earlier versions have no numbers. */
  private static final Pattern NAME =
      Pattern.compile(
          "answers-([0-9a-f-]{36})-(?:([0-9]+)-([0-9]+)-)?([0-9]+)-([0-9]+)-([0-9]+)\\.parquet");

  private static final Comparator<AnswerFile> JOINED_BEFORE_ITS_PARTS =
      Comparator.comparing(AnswerFile::writer)
          .thenComparing(AnswerFile::first)
          .thenComparing(AnswerFile::last, Comparator.reverseOrder());

  /** A file that is to be written. */
  static AnswerFile of(String writer, int first, int last, long answers, TokenUsage usage) {
    String name =
        String.format(
            Locale.ROOT,
            "answers-%s-%d-%d-%d-%d-%d.parquet",
            writer,
            first,
            last,
            answers,
            usage.promptTokens(),
            usage.completionTokens());
    return new AnswerFile(name, writer, first, last, answers, usage);
  }

  /** Files of a listing that count: those of answers, but none that another one stands for. */
  static List<AnswerFile> of(Collection<String> names) {
    List<AnswerFile> counted = new ArrayList<>();
    names.stream()
        .flatMap(name -> parse(name).stream())
        .sorted(JOINED_BEFORE_ITS_PARTS)
        .forEach(
            file -> {
              boolean left = !counted.isEmpty() && counted.get(counted.size() - 1).standsFor(file);
              if (!left) {
                counted.add(file);
              }
            });
    return counted;
  }

  private static Optional<AnswerFile> parse(String name) {
    Matcher parts = NAME.matcher(name);
    if (!parts.matches()) {
      return Optional.empty();
    }
    boolean numbered = parts.group(2) != null;
    return Optional.of(
        new AnswerFile(
            name,
            parts.group(1),
            numbered ? Integer.parseInt(parts.group(2)) : 0,
            numbered ? Integer.parseInt(parts.group(3)) : 0,
            Long.parseLong(parts.group(4)),
            new TokenUsage(Long.parseLong(parts.group(5)), Long.parseLong(parts.group(6)))));
  }

  private boolean standsFor(AnswerFile other) {
    return writer.equals(other.writer) && first <= other.first && other.last <= last;
  }
}
