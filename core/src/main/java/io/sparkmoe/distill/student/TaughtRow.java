package io.sparkmoe.distill.student;

import io.sparkmoe.data.TeacherColumns;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.distill.TeacherIdentity;
import java.time.Instant;
import java.util.Arrays;
import java.util.Locale;

/**
 * A packed row that a teacher has read, as one distillation row: its first token is the prompt, all
 * others are a completion that the teacher was given.
 *
 * <p>Legend: N tokens of a row without its padding, K stored tokens of a position.
 */
public final class TaughtRow {

  private static final int NO_ENTRY = -1;

  private TaughtRow() {}

  /** Stable name of a packed row. */
  public static String id(TokenRow row) {
    return String.format(Locale.ROOT, "row-%08d", row.rowId());
  }

  /**
   * The row as a dataset stores it.
   *
   * @param row with what the teacher says about its tokens
   * @param tokenizer of the row's ids
   * @param at when the teacher read it
   */
  public static DistillationRow toDistillationRow(
      TokenRow row, Tokenizer tokenizer, TeacherIdentity teacher, Instant at) {
    TeacherColumns columns = row.teacher();
    int k = columns.topK();
    int n = row.numTokens();
    int[] prompt = Arrays.copyOf(row.tokens(), 1);
    int[] completion = Arrays.copyOfRange(row.tokens(), 1, n);
    int[][] ids = new int[n - 1][];
    float[][] logProbabilities = new float[n - 1][];
    for (int i = 0; i < n - 1; i++) {
      ids[i] = Arrays.copyOfRange(columns.ids(), (i + 1) * k, (i + 2) * k);
      logProbabilities[i] =
          Arrays.copyOfRange(columns.logProbabilities(), (i + 1) * k, (i + 2) * k);
    }
    String text = tokenizer.decode(completion);
    return DistillationRow.builder()
        .id(id(row))
        .source(row.source())
        .prompt(tokenizer.decode(prompt))
        .completion(text)
        .answer(text)
        .ids(teacher.tokenizerSha256(), prompt, completion)
        .finishReason(DistillationRow.FORCED)
        .teacher(teacher.name(), teacher.revision())
        .topk(ids, logProbabilities, Arrays.copyOfRange(columns.tailLogMass(), 1, n))
        .createdAt(at)
        .build();
  }

  /**
   * A row of text with what a dataset stores about it.
   *
   * @param taught as {@link #toDistillationRow} made it of the same row
   * @throws IllegalArgumentException when it is of another row
   */
  public static TokenRow withTeacher(TokenRow row, DistillationRow taught) {
    int n = row.numTokens();
    if (taught.topkIds() == null
        || taught.tailLogMass() == null
        || !Arrays.equals(taught.promptIds(), Arrays.copyOf(row.tokens(), 1))
        || !Arrays.equals(taught.completionIds(), Arrays.copyOfRange(row.tokens(), 1, n))) {
      throw new IllegalArgumentException(
          "distillation row "
              + taught.id()
              + " has other tokens than row "
              + row.rowId()
              + " of the text, or no top-k of them, expected what a teacher said of that row; let"
              + " it read the text again");
    }
    int positions = row.tokens().length;
    int k = Arrays.stream(taught.topkIds()).mapToInt(ids -> ids.length).max().orElse(0);
    boolean[] learned = new boolean[positions];
    Arrays.fill(learned, true);
    int[] ids = new int[positions * k];
    Arrays.fill(ids, NO_ENTRY);
    float[] logProbabilities = new float[positions * k];
    float[] tail = new float[positions];
    for (int i = 0; i < n - 1; i++) {
      int stored = taught.topkIds()[i].length;
      System.arraycopy(taught.topkIds()[i], 0, ids, (i + 1) * k, stored);
      System.arraycopy(taught.topkLogprobs()[i], 0, logProbabilities, (i + 1) * k, stored);
      tail[i + 1] = taught.tailLogMass()[i];
    }
    return row.withTeacher(new TeacherColumns(learned, k, ids, logProbabilities, tail));
  }
}
