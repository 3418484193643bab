package io.sparkmoe.spark.cli;

import io.sparkmoe.layer.Fp8Recipe;
import io.sparkmoe.spark.job.GradientBenchOptions;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "fp8-gradients",
    description = "Compare a checkpoint's gradients in FP8 with those in FP32.")
final class BenchGradientsCommand implements Callable<Integer> {

  private final Jobs jobs;

  @Mixin private CommonOptions common;

  @Option(
      names = "--checkpoint",
      required = true,
      paramLabel = "DIR",
      description = "Checkpoint's folder, or a run's for its newest.")
  private String checkpoint;

  @Option(
      names = "--data",
      required = true,
      paramLabel = "DIR",
      description = "Dataset that `moe prepare` made.")
  private String data;

  @Option(
      names = "--rows",
      paramLabel = "N",
      defaultValue = "16",
      description = "Training rows of the batch, evenly spaced (default: ${DEFAULT-VALUE}).")
  private int rows;

  @Option(
      names = "--fp8-recipe",
      paramLabel = "RECIPE",
      defaultValue = "deepseek",
      description = "What fp8 rounds how: ${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE}).")
  private Fp8Recipe recipe;

  @Option(
      names = "--threads",
      paramLabel = "T",
      defaultValue = "0",
      description = "Compute threads; 0 = one for each core (default).")
  private int threads;

  BenchGradientsCommand(Jobs jobs) {
    this.jobs = jobs;
  }

  @Override
  public Integer call() throws Exception {
    jobs.benchGradients(
        new GradientBenchOptions(
            checkpoint,
            data,
            Arguments.atLeast(1, rows, "--rows"),
            recipe,
            Arguments.atLeast(0, threads, "--threads")));
    return Main.DONE;
  }
}
