package io.sparkmoe.train;

import com.fasterxml.jackson.annotation.JsonInclude;
import io.sparkmoe.parallel.ClusterConfig;
import java.util.Locale;

/**
 * The {@code summary.json} of a finished run.
 *
 * @param steps optimizer steps
 * @param tokens tokens trained on, earlier runs included
 * @param validationLoss mean next-token loss on the validation rows in nats, null without any
 * @param validationBitsPerByte the same in bits per byte of text, null without any
 * @param weightsSha256 over the FP32 weights in tensor-name order
 * @param tokensPerSecond of this run's steps, or of all on file when it had none left to do;
 *     evaluation and checkpoints excluded
 * @param wallSeconds of this run, start-up included
 * @param executors ranks; 0 = trained in one process without Spark
 * @param stageAttempts attempts of the barrier stage, 1 when nothing failed
 * @param resumedFromStep step that this run started after, 0 = the beginning
 */
@JsonInclude(JsonInclude.Include.NON_NULL)
public record RunSummary(
    int steps,
    long tokens,
    Double validationLoss,
    Double validationBitsPerByte,
    String weightsSha256,
    double tokensPerSecond,
    double wallSeconds,
    int executors,
    String precision,
    String gradientWire,
    String dispatchWire,
    String gatePlacement,
    int stageAttempts,
    int resumedFromStep) {

  /** Name of the file in a run's folder. */
  public static final String FILE = "summary.json";

  /**
   * @param validationBytesPerToken bytes of text in a token of the validation rows
   */
  public static RunSummary of(
      RunConfig config,
      RunResult result,
      double validationBytesPerToken,
      double wallSeconds,
      int executors,
      int stageAttempts) {
    Double loss = null;
    Double bitsPerByte = null;
    if (result.evaluation() != null) {
      loss = result.evaluation().meanLoss();
      bitsPerByte = result.evaluation().bitsPerByte(validationBytesPerToken);
    }
    ClusterConfig cluster = config.cluster();
    return new RunSummary(
        result.steps(),
        result.tokens(),
        loss,
        bitsPerByte,
        result.weightsSha256(),
        tokensPerSecond(config, result),
        wallSeconds,
        executors,
        lower(config.train().precision()),
        lower(cluster.gradientWire()),
        lower(cluster.dispatchWire()),
        lower(cluster.gatePlacement()),
        stageAttempts,
        result.resumedFromStep());
  }

  private static double tokensPerSecond(RunConfig config, RunResult result) {
    double seconds = 0;
    for (StepMetrics step : result.metrics()) {
      seconds += step.trainSeconds();
    }
    long tokens =
        (long) result.metrics().size() * config.train().batchSequences() * config.train().seqLen();
    return seconds == 0 ? 0 : tokens / seconds;
  }

  private static String lower(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT);
  }
}
