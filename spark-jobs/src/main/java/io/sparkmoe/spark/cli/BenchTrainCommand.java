package io.sparkmoe.spark.cli;

import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.spark.job.BenchOptions;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(name = "train", description = "Measure training speed on synthetic tokens.")
final class BenchTrainCommand implements Callable<Integer> {

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
      description = "Sequences of a step; the config's unless given.")
  private Integer batch;

  @Option(
      names = "--seq",
      paramLabel = "S",
      description = "Tokens of a sequence; the config's unless given.")
  private Integer seq;

  @Option(
      names = "--steps",
      paramLabel = "N",
      description = "Timed steps; the config's unless given.")
  private Integer steps;

  @Option(
      names = "--warmup",
      paramLabel = "N",
      defaultValue = "2",
      description = "Untimed steps before them (default: ${DEFAULT-VALUE}).")
  private int warmup;

  @Option(
      names = "--executors",
      paramLabel = "P",
      defaultValue = "0",
      description = "Number of Spark executors; 0 = this process alone (default).")
  private int executors;

  @Option(
      names = "--precision",
      paramLabel = "fp32|fp8",
      description = "Precision; the config's unless given.")
  private String precision;

  @Option(
      names = "--threads",
      paramLabel = "T",
      defaultValue = "0",
      description = "Threads of each rank; 0 = one for each core (default).")
  private int threads;

  BenchTrainCommand(Jobs jobs) {
    this.jobs = jobs;
  }

  @Override
  public Integer call() throws Exception {
    ConfigResolver resolver = config.resolver(source);
    ConfigOptions.override(resolver, "train.batch_sequences", batch, "--batch");
    ConfigOptions.override(resolver, "train.seq_len", seq, "--seq");
    ConfigOptions.override(resolver, "train.steps", steps, "--steps");
    ConfigOptions.override(resolver, "train.precision", precision, "--precision");
    jobs.benchTrain(
        new BenchOptions(
            resolver.resolve(),
            Arguments.atLeast(0, warmup, "--warmup"),
            Arguments.atLeast(0, executors, "--executors"),
            Arguments.atLeast(0, threads, "--threads")));
    return Main.DONE;
  }
}
