package io.sparkmoe.spark.cli;

import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.infer.WeightFormat;
import io.sparkmoe.spark.job.BenchGenerateOptions;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "generate",
    description = "Measure writing and prefill speed with random weights, greedy.")
final class BenchGenerateCommand implements Callable<Integer> {

  private final Jobs jobs;

  @Mixin private CommonOptions common;
  @Mixin private ConfigOptions config;

  @Option(
      names = "--config",
      paramLabel = "FILE|PRESET",
      defaultValue = "bench-small",
      description = "YAML file or preset (default: ${DEFAULT-VALUE}).")
  private String source;

  @Option(
      names = "--batch",
      paramLabel = "B",
      defaultValue = "1",
      description = "Texts written at the same time (default: ${DEFAULT-VALUE}).")
  private int batch;

  @Option(
      names = "--prompt",
      paramLabel = "N",
      defaultValue = "64",
      description = "Tokens of each prompt (default: ${DEFAULT-VALUE}).")
  private int prompt;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      defaultValue = "64",
      description = "Tokens written of each text (default: ${DEFAULT-VALUE}).")
  private int maxTokens;

  @Option(
      names = "--prefill",
      paramLabel = "N",
      defaultValue = "512",
      description =
          "Tokens of the prompts that prefill is measured on (default: ${DEFAULT-VALUE}).")
  private int prefill;

  @Option(
      names = "--repeats",
      paramLabel = "N",
      defaultValue = "20",
      description = "Measurements, of which the fastest counts (default: ${DEFAULT-VALUE}).")
  private int repeats;

  @Option(
      names = "--weights",
      paramLabel = "fp32|bf16|fp8",
      defaultValue = "fp32",
      description = "How the weights are held (default: ${DEFAULT-VALUE}).")
  private WeightFormat weights;

  @Option(
      names = "--threads",
      paramLabel = "T",
      defaultValue = "0",
      description = "Compute threads; 0 = one for each core (default).")
  private int threads;

  BenchGenerateCommand(Jobs jobs) {
    this.jobs = jobs;
  }

  @Override
  public Integer call() throws Exception {
    Arguments.atLeast(1, prompt, "--prompt");
    Arguments.atLeast(2, maxTokens, "--max-tokens");
    Arguments.atLeast(1, prefill, "--prefill");
    ConfigResolver resolver = config.resolver(source);
    resolver.option(
        "model.max_position_embeddings",
        Math.max(Math.addExact(prompt, maxTokens), prefill + 1),
        "--prompt, --max-tokens and --prefill");
    jobs.benchGenerate(
        new BenchGenerateOptions(
            resolver.resolve(),
            weights,
            Arguments.atLeast(1, batch, "--batch"),
            prompt,
            maxTokens,
            prefill,
            Arguments.atLeast(1, repeats, "--repeats"),
            Arguments.atLeast(0, threads, "--threads")));
    return Main.DONE;
  }
}
