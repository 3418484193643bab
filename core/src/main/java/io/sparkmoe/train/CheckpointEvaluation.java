package io.sparkmoe.train;

import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.model.LanguageModel;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.moe.ExchangeDispatcher;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.parallel.LocalCommunicator;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.train.protocol.StepEnd.Evaluation;
import java.io.IOException;
import java.time.Duration;
import java.util.EnumSet;
import java.util.List;

/** Evaluates a checkpoint in this process. */
public final class CheckpointEvaluation {

  /** Rows of a forward pass; a pass of evaluation keeps little. */
  private static final int ROWS_PER_PASS = 8;

  private CheckpointEvaluation() {}

  /**
   * Runs the model over the rows.
   *
   * @param seqLen inputs of a row
   * @param memoryLimitBytes off-heap bytes that may be used
   */
  public static Evaluation of(
      CheckpointReader checkpoint,
      List<TokenRow> rows,
      int seqLen,
      int threads,
      long memoryLimitBytes)
      throws IOException {
    ModelConfig model = checkpoint.model();
    ExpertPlacement placement = new ExpertPlacement(model.numRoutedExperts(), 1);
    LocalCommunicator.Group alone = LocalCommunicator.group(1, Duration.ofSeconds(1));
    try (Communicator communicator = alone.rank(0);
        ComputeEngine engine =
            ComputeEngine.open("evaluate", checkpoint.manifest().gemmBackend(), threads);
        Arena arena = new Arena("evaluation", memoryLimitBytes);
        Parameters parameters =
            Parameters.allocate(
                model, placement, 0, EnumSet.allOf(Part.class), DType.F32, false, arena)) {
      checkpoint.readWeights(parameters);
      Kernels kernels = engine.kernels();
      ExchangeDispatcher dispatcher =
          new ExchangeDispatcher(communicator, placement, kernels, Wire.FP32, Wire.FP32);
      LanguageModel language =
          new LanguageModel(parameters, Gates.local(parameters, kernels), dispatcher, kernels);
      int passes = MicroBatches.passes(rows.size(), ROWS_PER_PASS);
      return new Evaluator(language, model, seqLen, arena)
          .run(checkpoint.manifest().step(), 0, rows, passes);
    }
  }
}
