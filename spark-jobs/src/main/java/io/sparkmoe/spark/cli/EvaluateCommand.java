package io.sparkmoe.spark.cli;

import io.sparkmoe.layer.Fp8Recipe;
import io.sparkmoe.spark.job.EvaluateOptions;
import io.sparkmoe.train.Precision;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "evaluate",
    description = "Measure a checkpoint's loss on a dataset's validation rows.")
final class EvaluateCommand implements Callable<Integer> {

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
      names = "--precision",
      paramLabel = "fp32|fp8",
      description = "Format to compute in; the one of the checkpoint's training unless given.")
  private Precision precision;

  @Option(
      names = "--fp8-recipe",
      paramLabel = "RECIPE",
      description = "What fp8 rounds how: ${COMPLETION-CANDIDATES}; the training's unless given.")
  private Fp8Recipe recipe;

  EvaluateCommand(Jobs jobs) {
    this.jobs = jobs;
  }

  @Override
  public Integer call() throws Exception {
    jobs.evaluate(new EvaluateOptions(checkpoint, data, precision, recipe));
    return Main.DONE;
  }
}
