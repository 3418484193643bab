package io.sparkmoe.train;

import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.layer.Fp8Recipe;
import io.sparkmoe.model.LanguageModel;
import io.sparkmoe.train.protocol.StepEnd.Evaluation;
import java.io.IOException;
import java.util.List;

/** Evaluates a checkpoint in this process. */
public final class CheckpointEvaluation {

  /** Rows of a forward pass; a pass of evaluation keeps little. */
  private static final int ROWS_PER_PASS = 8;

  private CheckpointEvaluation() {}

  /** In the format that the checkpoint was trained in; otherwise as below. */
  public static Evaluation of(
      CheckpointReader checkpoint,
      List<TokenRow> rows,
      int seqLen,
      int threads,
      long memoryLimitBytes)
      throws IOException {
    return of(
        checkpoint,
        rows,
        seqLen,
        CheckpointState.precision(checkpoint),
        CheckpointState.recipe(checkpoint),
        threads,
        memoryLimitBytes);
  }

  /**
   * Runs the model over the rows.
   *
   * @param seqLen inputs of a row
   * @param precision format to compute in, whatever the run's was
   * @param recipe of FP8
   * @param memoryLimitBytes off-heap bytes that may be used
   */
  public static Evaluation of(
      CheckpointReader checkpoint,
      List<TokenRow> rows,
      int seqLen,
      Precision precision,
      Fp8Recipe recipe,
      int threads,
      long memoryLimitBytes)
      throws IOException {
    try (CheckpointModel model =
        new CheckpointModel(checkpoint, false, threads, memoryLimitBytes)) {
      LanguageModel language = model.language(precision, recipe);
      int passes = MicroBatches.passes(rows.size(), ROWS_PER_PASS);
      return new Evaluator(language, model.parameters().config(), seqLen, model.arena())
          .run(checkpoint.manifest().step(), 0, rows, passes);
    }
  }
}
