package io.sparkmoe.spark.data;

import java.io.Serializable;
import java.util.List;
import java.util.Objects;

/**
 * Where a document's source comes from.
 *
 * @param kind of rule
 * @param column column that holds it, for {@link Kind#COLUMN}
 * @param languages ISO 639-1 codes to choose from, for {@link Kind#LANGUAGE}; empty = all that can
 *     be detected
 */
public record SourceRule(Kind kind, String column, List<String> languages) implements Serializable {

  /** Kinds of rules. */
  public enum Kind {
    /** All documents are of one source, {@link #SINGLE_SOURCE}. */
    SINGLE,
    /** A column of the input. */
    COLUMN,
    /** The language of the text. */
    LANGUAGE
  }

  /** Name of the source when there is only one. */
  public static final String SINGLE_SOURCE = "all";

  /** Name of the source of documents whose source is empty. */
  public static final String UNKNOWN_SOURCE = "unknown";

  public SourceRule {
    Objects.requireNonNull(kind);
    if ((kind == Kind.COLUMN) != (column != null)) {
      throw new IllegalArgumentException(
          "a source column must be named exactly when the source is a column");
    }
    languages = List.copyOf(languages);
  }

  /** All documents are of one source. */
  public static SourceRule single() {
    return new SourceRule(Kind.SINGLE, null, List.of());
  }

  /** The source stands in a column. */
  public static SourceRule column(String column) {
    return new SourceRule(Kind.COLUMN, column, List.of());
  }

  /** The source is the language, one of these codes; empty = any. */
  public static SourceRule language(List<String> languages) {
    return new SourceRule(Kind.LANGUAGE, null, languages);
  }
}
