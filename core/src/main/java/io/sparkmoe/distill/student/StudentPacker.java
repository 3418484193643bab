package io.sparkmoe.distill.student;

import io.sparkmoe.data.TeacherColumns;
import io.sparkmoe.data.TokenRow;
import java.util.Arrays;
import java.util.function.Consumer;

/**
 * Lays sequences one behind the other into rows of seqLen + 1 tokens, with what the teacher says
 * beside every token. Neighbouring rows share one token, the last target of one and the first input
 * of the next. Give it the sequences in order, then {@link #flush}.
 *
 * <p>Legend: S inputs of a row, K stored tokens of a position.
 */
public final class StudentPacker {

  private static final int NO_ENTRY = -1;

  private final int seqLen;
  private final int topK;
  private final Consumer<TokenRow> rows;

  private final int[] tokens;
  private final boolean[] learned;
  private final int[] docStarts;
  private final int[] ids;
  private final float[] logprobs;
  private final float[] tail;
  private long rowId;
  private String source = "";
  private int numDocStarts;

  /** Where the next token goes. */
  private int end;

  /**
   * @param seqLen S
   * @param topK K, 0 = text alone
   * @param firstRowId id of the first row
   * @param rows gets the rows in order
   */
  public StudentPacker(int seqLen, int topK, long firstRowId, Consumer<TokenRow> rows) {
    this.seqLen = seqLen;
    this.topK = topK;
    this.rowId = firstRowId;
    this.rows = rows;
    tokens = new int[seqLen + 1];
    learned = new boolean[seqLen + 1];
    docStarts = new int[seqLen + 1];
    ids = new int[(seqLen + 1) * topK];
    logprobs = new float[(seqLen + 1) * topK];
    tail = new float[topK == 0 ? 0 : seqLen + 1];
  }

  /** Rows that hold at least one target, of that many tokens. */
  public static long numRows(long numTokens, int seqLen) {
    return numTokens < 2 ? 0 : (numTokens - 2) / seqLen + 1;
  }

  /** Adds a sequence. */
  public void add(StudentSequence sequence) {
    for (int i = 0; i < sequence.tokens().length; i++) {
      put(sequence, i);
      if (end == seqLen + 1) {
        emit();
        put(sequence, i);
      }
    }
  }

  private void put(StudentSequence sequence, int i) {
    if (end == 0) {
      source = sequence.source();
    }
    if (i == 0) {
      docStarts[numDocStarts++] = end;
    }
    tokens[end] = sequence.tokens()[i];
    learned[end] = sequence.learned()[i];
    int stored = sequence.topkIds()[i] == null ? 0 : Math.min(topK, sequence.topkIds()[i].length);
    int entries = 0;
    for (int j = 0; j < stored; j++) {
      float logP = sequence.topkLogprobs()[i][j];
      // What a teacher did not know is no entry.
      if (!Float.isNaN(logP)) {
        ids[end * topK + entries] = sequence.topkIds()[i][j];
        logprobs[end * topK + entries++] = logP;
      }
    }
    Arrays.fill(ids, end * topK + entries, (end + 1) * topK, NO_ENTRY);
    Arrays.fill(logprobs, end * topK + entries, (end + 1) * topK, 0);
    if (topK > 0) {
      tail[end] = stored == 0 ? 0 : sequence.tailLogMass()[i];
    }
    end++;
  }

  /** Emits what is left, padded. */
  public void flush() {
    if (end > 1) {
      emit();
    }
  }

  private void emit() {
    // Padding is never read, but must not differ with what stood there before.
    Arrays.fill(tokens, end, seqLen + 1, 0);
    Arrays.fill(learned, end, seqLen + 1, false);
    Arrays.fill(ids, end * topK, ids.length, NO_ENTRY);
    Arrays.fill(logprobs, end * topK, logprobs.length, 0);
    Arrays.fill(tail, Math.min(end, tail.length), tail.length, 0);
    rows.accept(
        new TokenRow(
            rowId++,
            tokens.clone(),
            Arrays.copyOf(docStarts, numDocStarts),
            end,
            source,
            new TeacherColumns(
                learned.clone(), topK, ids.clone(), logprobs.clone(), tail.clone())));
    end = 0;
    numDocStarts = 0;
  }
}
