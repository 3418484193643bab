package io.sparkmoe.spark.job;

import io.sparkmoe.config.ResolvedConfig;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.spark.data.DistillationDataset;
import io.sparkmoe.spark.data.HadoopSettings;
import io.sparkmoe.spark.data.TokenizerSpec;
import io.sparkmoe.train.DistillConfig;
import io.sparkmoe.train.RunConfig;
import java.io.IOException;
import java.io.PrintStream;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;

/** {@code moe distill}: trains a student on a teacher's rows, on Spark or in this process. */
public final class DistillJob {

  private final DistillOptions options;
  private final PrintStream err;

  /**
   * @param err where progress and remarks go
   */
  public DistillJob(DistillOptions options, PrintStream err) {
    this.options = options;
    this.err = err;
  }

  /**
   * Trains to the end.
   *
   * @throws IllegalArgumentException when config, rows, tokenizer, folder or cluster do not fit, in
   *     one sentence and before anything is written
   */
  public TrainJob.Trained run() throws IOException, InterruptedException {
    TrainingRun run = new TrainingRun("moe distill", options.training(), err);
    Configuration hadoop = HadoopSettings.current();
    DistillationDataset.Folder folder =
        new DistillationDataset.Folder(options.training().data(), hadoop);
    try (Tokenizer tokenizer = tokenizer(folder, hadoop)) {
      ResolvedConfig resolved =
          options
              .training()
              .config()
              .withTokenizer(tokenizer.vocabSize(), options.training().data());
      RunConfig config = run.config(resolved);
      requireWholeVocabulary(config, tokenizer.vocabSize());
      DistillationDataset rows =
          folder.open(tokenizer, config.train().seqLen(), options.validation(), config.distill());
      if (rows.numTrainRows() == 0) {
        throw new IllegalArgumentException(
            "--data "
                + rows.location()
                + " leaves no rows to train on, expected some; teach more, or lower --validation");
      }
      return run.run(resolved, config, rows, hadoop);
    }
  }

  private Tokenizer tokenizer(DistillationDataset.Folder folder, Configuration hadoop)
      throws IOException {
    return options.tokenizer() == null
        ? folder.tokenizer()
        : TokenizerSpec.parse(options.tokenizer(), hadoop).open(Map::of);
  }

  /** A vocabulary larger than the tokenizer's has ids that no teacher stores. */
  private static void requireWholeVocabulary(RunConfig config, int ids) {
    if (config.distill().loss() == DistillConfig.Loss.FORWARD_KL
        && config.model().vocabSize() > ids) {
      throw new IllegalArgumentException(
          "distill.loss=forward_kl compares whole vocabularies: model.vocab_size is "
              + config.model().vocabSize()
              + ", the tokenizer has "
              + ids
              + " ids; leave model.vocab_size out, or set distill.loss=bucket");
    }
  }
}
