package io.sparkmoe.spark.cli;

import io.sparkmoe.infer.WeightFormat;
import io.sparkmoe.spark.job.BenchSpeculativeOptions;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "speculative",
    description =
        "Measure a trained model's writing speed with and without drafting, and what each weight"
            + " format costs in held-out loss.")
final class BenchSpeculativeCommand implements Callable<Integer> {

  private final Jobs jobs;

  @Mixin private CommonOptions common;
  @Mixin private SamplingArguments sampling;

  @Option(
      names = "--checkpoint",
      required = true,
      paramLabel = "DIR",
      description = "A run's folder, a checkpoint's, or a Hugging Face model's.")
  private String checkpoint;

  @Option(
      names = "--data",
      required = true,
      paramLabel = "DIR",
      description = "Dataset whose validation rows give the prompts and the held-out text.")
  private String data;

  @Option(
      names = "--weights",
      paramLabel = "fp32|bf16|fp8",
      split = ",",
      defaultValue = "fp32,bf16,fp8",
      description = "Weight formats, one after the other (default: ${DEFAULT-VALUE}).")
  private List<WeightFormat> weights;

  @Option(
      names = "--prompts",
      paramLabel = "N",
      defaultValue = "30",
      description = "Number of prompts (default: ${DEFAULT-VALUE}).")
  private int prompts;

  @Option(
      names = "--prompt-tokens",
      paramLabel = "N",
      defaultValue = "64",
      description = "Tokens of each prompt (default: ${DEFAULT-VALUE}).")
  private int promptTokens;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      defaultValue = "128",
      description = "Tokens written after each at most (default: ${DEFAULT-VALUE}).")
  private int maxTokens;

  @Option(
      names = "--batch",
      paramLabel = "B",
      defaultValue = "1",
      description = "Texts written at the same time (default: ${DEFAULT-VALUE}).")
  private int batch;

  @Option(
      names = "--repeats",
      paramLabel = "N",
      defaultValue = "5",
      description =
          "Measurements with and without drafting in turns, of which the fastest count (default:"
              + " ${DEFAULT-VALUE}).")
  private int repeats;

  @Option(
      names = "--loss-rows",
      paramLabel = "N",
      defaultValue = "64",
      description = "Validation rows that the loss is measured on (default: ${DEFAULT-VALUE}).")
  private int lossRows;

  @Option(
      names = "--threads",
      paramLabel = "T",
      defaultValue = "0",
      description = "Compute threads; 0 = one for each core (default).")
  private int threads;

  BenchSpeculativeCommand(Jobs jobs) {
    this.jobs = jobs;
  }

  @Override
  public Integer call() throws Exception {
    jobs.benchSpeculative(
        new BenchSpeculativeOptions(
            checkpoint,
            data,
            weights,
            sampling.options(),
            Arguments.atLeast(1, prompts, "--prompts"),
            Arguments.atLeast(1, promptTokens, "--prompt-tokens"),
            Arguments.atLeast(2, maxTokens, "--max-tokens"),
            Arguments.atLeast(1, batch, "--batch"),
            Arguments.atLeast(1, repeats, "--repeats"),
            Arguments.atLeast(1, lossRows, "--loss-rows"),
            Arguments.atLeast(0, threads, "--threads")));
    return Main.DONE;
  }
}
