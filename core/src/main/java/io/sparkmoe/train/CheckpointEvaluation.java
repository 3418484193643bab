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

  private CheckpointEvaluation() {}

  /** In the format that the checkpoint was trained in; otherwise as below. */
  public static Evaluation of(
      CheckpointReader checkpoint, List<TokenRow> rows, int seqLen, int threads, int rowsPerPass)
      throws IOException {
    return of(
        checkpoint,
        rows,
        seqLen,
        CheckpointState.precision(checkpoint),
        CheckpointState.recipe(checkpoint),
        threads,
        rowsPerPass);
  }

  /**
   * Runs the model over the rows.
   *
   * @param seqLen inputs of a row
   * @param precision format to compute in, whatever the run's was
   * @param recipe of FP8
   * @param rowsPerPass sequences of a forward pass; {@link ResidentMemory#evaluation} says what
   *     they take
   */
  public static Evaluation of(
      CheckpointReader checkpoint,
      List<TokenRow> rows,
      int seqLen,
      Precision precision,
      Fp8Recipe recipe,
      int threads,
      int rowsPerPass)
      throws IOException {
    long limitBytes =
        RankMemory.ofEvaluation(
                checkpoint.model(),
                precision,
                checkpoint.manifest().gemmBackend(),
                seqLen,
                rowsPerPass)
            .limitBytes();
    try (CheckpointModel model = new CheckpointModel(checkpoint, false, threads, limitBytes)) {
      LanguageModel language = model.language(precision, recipe);
      int passes = MicroBatches.passes(rows.size(), rowsPerPass);
      return new Evaluator(language, model.parameters().config(), seqLen, model.arena(), () -> {})
          .run(checkpoint.manifest().step(), 0, rows, passes);
    }
  }
}
