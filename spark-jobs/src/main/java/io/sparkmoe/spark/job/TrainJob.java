package io.sparkmoe.spark.job;

import io.sparkmoe.config.ResolvedConfig;
import io.sparkmoe.report.ExpertUse;
import io.sparkmoe.spark.data.HadoopSettings;
import io.sparkmoe.spark.data.TokenDataset;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunSummary;
import java.io.IOException;
import java.io.PrintStream;
import java.util.List;
import org.apache.hadoop.conf.Configuration;

/** {@code moe train}: trains a model on a prepared dataset, on Spark or in this process. */
public final class TrainJob {

  private final TrainOptions options;
  private final PrintStream err;

  /**
   * @param err where progress and remarks go
   */
  public TrainJob(TrainOptions options, PrintStream err) {
    this.options = options;
    this.err = err;
  }

  /**
   * What a finished run left.
   *
   * @param summary as in summary.json
   * @param expertUse use of every MoE layer on the validation rows, by source
   */
  public record Trained(RunSummary summary, List<ExpertUse> expertUse) {}

  /**
   * Trains to the end.
   *
   * @throws IllegalArgumentException when config, dataset, folder or cluster do not fit, in one
   *     sentence and before anything is written
   */
  public Trained run() throws IOException, InterruptedException {
    TrainingRun run = new TrainingRun("moe train", options, err);
    Configuration hadoop = HadoopSettings.current();
    TokenDataset dataset = TokenDataset.open(options.data(), hadoop);
    ResolvedConfig resolved =
        options.config().withTokenizer(dataset.info().vocabSize(), dataset.location());
    RunConfig config = run.config(resolved);
    dataset.requireFits(config.train().seqLen(), config.model().vocabSize());
    if (dataset.info().train().rows() == 0) {
      throw new IllegalArgumentException(
          "dataset "
              + dataset.location()
              + " has no training rows, expected at least one; prepare more text");
    }
    return run.run(resolved, config, dataset, hadoop);
  }
}
