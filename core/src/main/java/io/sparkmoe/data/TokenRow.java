package io.sparkmoe.data;

import java.io.Serializable;
import java.util.List;

/**
 * One packed training row.
 *
 * @param rowId position in the dataset, from 0 without gaps
 * @param tokens seq_len + 1 token ids; the last one is only a target
 * @param docStarts ascending positions in tokens where a document begins; the first is 0 when a
 *     document begins there
 * @param numTokens tokens before the padding; only the last row of a source has padding
 * @param source where the row comes from, such as the language; never null
 * @param teacher what a teacher says about the tokens, null = plain text
 */
public record TokenRow(
    long rowId, int[] tokens, int[] docStarts, int numTokens, String source, TeacherColumns teacher)
    implements Serializable {

  /** A row of plain text. */
  public TokenRow(long rowId, int[] tokens, int[] docStarts, int numTokens, String source) {
    this(rowId, tokens, docStarts, numTokens, source, null);
  }

  /** The same row with what a teacher says about it. */
  public TokenRow withTeacher(TeacherColumns other) {
    return new TokenRow(rowId, tokens, docStarts, numTokens, source, other);
  }

  /** Most tokens that a teacher stored of a position of the rows; 0 of plain text. */
  public static int teacherTopK(List<TokenRow> rows) {
    return rows.stream()
        .mapToInt(row -> row.teacher == null ? 0 : row.teacher.topK())
        .max()
        .orElse(0);
  }

  /** Whether the token at a position is a target of training. */
  public boolean learns(int position) {
    return position < numTokens && (teacher == null || teacher.learned()[position]);
  }
}
