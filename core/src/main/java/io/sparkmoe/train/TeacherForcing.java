package io.sparkmoe.train;

import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.data.TeacherColumns;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.model.LanguageModel;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.TokenBatch;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A checkpoint's distributions over the next tokens of given rows: the teacher reads the rows
 * exactly as a student will.
 *
 * <p>Legend: S inputs of a row, C vocabulary, K tokens kept of a position.
 */
public final class TeacherForcing {

  /** Rows of a forward pass. */
  private static final int ROWS_PER_PASS = 8;

  /** The longest array that every JVM makes. */
  private static final int MOST_ENTRIES = Integer.MAX_VALUE - 8;

  private TeacherForcing() {}

  /**
   * Reads the rows once and gives them back with teacher columns, one list for each K.
   *
   * @param seqLen S
   * @param topKs how many tokens to keep of a position; at least C = all of them
   */
  public static List<List<TokenRow>> teach(
      CheckpointReader teacher, List<TokenRow> rows, int seqLen, int[] topKs, int threads)
      throws IOException {
    long limitBytes =
        RankMemory.ofEvaluation(
                teacher.model(),
                CheckpointState.precision(teacher),
                teacher.manifest().gemmBackend(),
                seqLen,
                ROWS_PER_PASS)
            .limitBytes();
    try (CheckpointModel model = new CheckpointModel(teacher, false, threads, limitBytes)) {
      LanguageModel language =
          model.language(CheckpointState.precision(teacher), CheckpointState.recipe(teacher));
      return teach(language, teacher.model(), rows, seqLen, topKs, model.arena());
    }
  }

  private static List<List<TokenRow>> teach(
      LanguageModel language,
      ModelConfig model,
      List<TokenRow> rows,
      int seqLen,
      int[] topKs,
      Arena arena) {
    int vocabulary = model.vocabSize();
    int positions = seqLen + 1;
    int[] kept = Arrays.stream(topKs).map(k -> Math.min(k, vocabulary)).toArray();
    for (int k : kept) {
      requireCountable(positions, k);
    }
    // Where all of the vocabulary is kept, every row has the same ids.
    int[] allIds =
        IntStream.of(kept).anyMatch(k -> k == vocabulary)
            ? IntStream.range(0, positions * vocabulary).map(i -> i % vocabulary).toArray()
            : null;
    BatchAssembler assembler = new BatchAssembler(seqLen, 0);
    List<List<TokenRow>> taught = new ArrayList<>();
    for (int k = 0; k < kept.length; k++) {
      taught.add(new ArrayList<>());
    }
    for (int first = 0; first < rows.size(); first += ROWS_PER_PASS) {
      int firstRow = first;
      List<TokenRow> group = rows.subList(first, Math.min(rows.size(), first + ROWS_PER_PASS));
      for (int k = 0; k < kept.length; k++) {
        for (TokenRow row : group) {
          TeacherColumns columns =
              kept[k] == vocabulary ? whole(positions, allIds) : most(positions, kept[k]);
          taught.get(k).add(row.withTeacher(columns));
        }
      }
      try (Scope scope = arena.scope()) {
        TokenBatch batch = assembler.assemble(group, scope);
        language.logits(
            0,
            first / ROWS_PER_PASS,
            batch,
            arena,
            (start, logits) -> {
              for (int i = 0; i < logits.rows(); i++) {
                double[] logP = logSoftmax(logits, i);
                int row = firstRow + (start + i) / seqLen;
                int position = (start + i) % seqLen + 1;
                for (List<TokenRow> arm : taught) {
                  keep(arm.get(row).teacher(), position, logP);
                }
              }
            });
      }
    }
    return taught;
  }

  private static void requireCountable(int positions, int k) {
    long entries = (long) positions * k;
    if (entries > MOST_ENTRIES) {
      throw new IllegalArgumentException(
          "cannot keep "
              + k
              + " tokens at each of "
              + positions
              + " positions: got "
              + entries
              + " entries of a row, expected at most "
              + MOST_ENTRIES
              + "; lower train.seq_len");
    }
  }

  /** Columns of a row for the K most probable tokens of each position, most probable first. */
  private static TeacherColumns most(int positions, int k) {
    int[] ids = new int[positions * k];
    Arrays.fill(ids, 0, k, -1);
    return new TeacherColumns(
        allLearned(positions), k, ids, new float[positions * k], new float[positions]);
  }

  /** Columns of a row for every token of each position, by id. */
  private static TeacherColumns whole(int positions, int[] ids) {
    float[] tail = new float[positions];
    Arrays.fill(tail, Float.NEGATIVE_INFINITY);
    return new TeacherColumns(
        allLearned(positions), ids.length / positions, ids, new float[ids.length], tail);
  }

  /**
   * Writes a position.
   *
   * @param logP of all tokens
   */
  private static void keep(TeacherColumns columns, int position, double[] logP) {
    int k = columns.topK();
    if (k == logP.length) {
      for (int c = 0; c < k; c++) {
        columns.logProbabilities()[position * k + c] = (float) logP[c];
      }
      return;
    }
    double[] left = logP.clone();
    for (int j = 0; j < k; j++) {
      int best = 0;
      for (int c = 1; c < left.length; c++) {
        best = left[c] > left[best] ? c : best;
      }
      columns.ids()[position * k + j] = best;
      columns.logProbabilities()[position * k + j] = (float) left[best];
      left[best] = Double.NEGATIVE_INFINITY;
    }
    columns.tailLogMass()[position] = (float) Math.log(Arrays.stream(left).map(Math::exp).sum());
  }

  private static boolean[] allLearned(int positions) {
    boolean[] learned = new boolean[positions];
    Arrays.fill(learned, true);
    return learned;
  }

  private static double[] logSoftmax(Tensor logits, int row) {
    int c = logits.cols();
    double[] logP = new double[c];
    double largest = Double.NEGATIVE_INFINITY;
    for (int j = 0; j < c; j++) {
      logP[j] = logits.get(row * c + j);
      largest = Math.max(largest, logP[j]);
    }
    double sum = 0;
    for (double x : logP) {
      sum += Math.exp(x - largest);
    }
    double logSum = largest + Math.log(sum);
    for (int j = 0; j < c; j++) {
      logP[j] -= logSum;
    }
    return logP;
  }
}
