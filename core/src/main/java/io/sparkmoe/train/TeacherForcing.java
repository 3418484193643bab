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

  /** Rows of a forward pass, whose every activation is kept. */
  private static final int ROWS_PER_PASS = 8;

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
    BatchAssembler assembler = new BatchAssembler(seqLen, 0);
    // Where all of the vocabulary is kept, every row has the same ids.
    int[] allIds =
        IntStream.range(0, (seqLen + 1) * model.vocabSize())
            .map(i -> i % model.vocabSize())
            .toArray();
    List<List<TokenRow>> taught = new ArrayList<>();
    for (int k = 0; k < topKs.length; k++) {
      taught.add(new ArrayList<>());
    }
    for (int first = 0; first < rows.size(); first += ROWS_PER_PASS) {
      List<TokenRow> group = rows.subList(first, Math.min(rows.size(), first + ROWS_PER_PASS));
      try (Scope scope = arena.scope()) {
        TokenBatch batch = assembler.assemble(group, scope);
        Tensor logits = language.trace(0, first / ROWS_PER_PASS, batch, scope).logits();
        for (int b = 0; b < group.size(); b++) {
          Tensor own = logits.view(b * seqLen * logits.cols(), seqLen, logits.cols());
          for (int k = 0; k < topKs.length; k++) {
            TeacherColumns columns =
                topKs[k] < logits.cols() ? most(own, topKs[k]) : all(own, allIds);
            taught.get(k).add(group.get(b).withTeacher(columns));
          }
        }
      }
    }
    return taught;
  }

  /** The K most probable tokens of each position, most probable first. */
  private static TeacherColumns most(Tensor logits, int k) {
    int positions = logits.rows() + 1;
    int[] ids = new int[positions * k];
    float[] logProbabilities = new float[positions * k];
    float[] tail = new float[positions];
    Arrays.fill(ids, 0, k, -1);
    for (int p = 1; p < positions; p++) {
      double[] logP = logSoftmax(logits, p - 1);
      for (int j = 0; j < k; j++) {
        int best = 0;
        for (int c = 1; c < logP.length; c++) {
          best = logP[c] > logP[best] ? c : best;
        }
        ids[p * k + j] = best;
        logProbabilities[p * k + j] = (float) logP[best];
        logP[best] = Double.NEGATIVE_INFINITY;
      }
      tail[p] = (float) Math.log(Arrays.stream(logP).map(Math::exp).sum());
    }
    return new TeacherColumns(allLearned(positions), k, ids, logProbabilities, tail);
  }

  /** Every token of each position, by id. */
  private static TeacherColumns all(Tensor logits, int[] ids) {
    int positions = logits.rows() + 1;
    int vocabulary = logits.cols();
    float[] logProbabilities = new float[positions * vocabulary];
    float[] tail = new float[positions];
    Arrays.fill(tail, Float.NEGATIVE_INFINITY);
    for (int p = 1; p < positions; p++) {
      double[] logP = logSoftmax(logits, p - 1);
      for (int c = 0; c < vocabulary; c++) {
        logProbabilities[p * vocabulary + c] = (float) logP[c];
      }
    }
    return new TeacherColumns(allLearned(positions), vocabulary, ids, logProbabilities, tail);
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
