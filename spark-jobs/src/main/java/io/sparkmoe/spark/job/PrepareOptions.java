package io.sparkmoe.spark.job;

import io.sparkmoe.spark.data.DocumentFormat;
import io.sparkmoe.spark.data.SourceRule;
import java.util.List;
import java.util.Locale;
import java.util.Objects;

/**
 * What {@code moe prepare} is asked for.
 *
 * @param inputs files, folders or patterns of documents
 * @param format how documents lie in them, null = as the names of the files say
 * @param textColumn column of the text in JSONL and Parquet
 * @param source where a document's source comes from
 * @param tokenizer {@code byte}, {@code bpe:SIZE} or the path of a tokenizer.json
 * @param seqLen inputs of a row, at least 2; a row has one token more
 * @param validation fraction of the documents to hold out, in [0, 0.5]; every round(1 /
 *     fraction)-th is, which is another share where that is not exact: 0.4 holds out every third
 * @param out folder to write: absent, empty, or what an interrupted prepare left
 */
public record PrepareOptions(
    List<String> inputs,
    DocumentFormat format,
    String textColumn,
    SourceRule source,
    String tokenizer,
    int seqLen,
    double validation,
    String out) {

  /** Column of the text unless another is named. */
  public static final String DEFAULT_TEXT_COLUMN = "text";

  /** Fraction held out unless another is given. */
  public static final double DEFAULT_VALIDATION = 0.02;

  /** Inputs of a row at most: a row must be a small part of a task's memory. */
  private static final int MAX_SEQ_LEN = 1 << 20;

  public PrepareOptions {
    inputs = List.copyOf(inputs);
    Objects.requireNonNull(source);
    require(!inputs.isEmpty(), "--input must name at least one file or folder, got none");
    require(textColumn != null && !textColumn.isBlank(), "--text-column must be a name, got none");
    require(
        tokenizer != null && !tokenizer.isBlank(),
        "--tokenizer must be byte, bpe:SIZE or a file, got none");
    require(
        seqLen >= 2 && seqLen <= MAX_SEQ_LEN,
        "--seq-len must be in [2, " + MAX_SEQ_LEN + "], got " + seqLen);
    require(
        validation >= 0 && validation <= 0.5,
        "--validation must be a fraction in [0, 0.5], got " + validation);
    require(out != null && !out.isBlank(), "--out must be a folder, got none");
    require(
        source.kind() != SourceRule.Kind.COLUMN || format == null || format.hasColumns(),
        "--source-column needs --format jsonl or parquet, got "
            + String.valueOf(format).toLowerCase(Locale.ROOT));
  }

  PrepareOptions withFormat(DocumentFormat named) {
    return new PrepareOptions(
        inputs, named, textColumn, source, tokenizer, seqLen, validation, out);
  }

  /** How many documents one is held out of, 0 = none is. */
  public int validationEvery() {
    return validation == 0 ? 0 : (int) Math.min(Integer.MAX_VALUE, Math.round(1 / validation));
  }

  private static void require(boolean holds, String message) {
    if (!holds) {
      throw new IllegalArgumentException(message);
    }
  }
}
