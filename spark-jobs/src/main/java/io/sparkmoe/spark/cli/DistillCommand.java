package io.sparkmoe.spark.cli;

import io.sparkmoe.spark.job.DistillOptions;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(name = "distill", description = "Train a student on a teacher's rows.")
final class DistillCommand implements Callable<Integer> {

  private final Jobs jobs;

  @Mixin private CommonOptions common;
  @Mixin private TrainingOptions training;

  @Option(
      names = "--data",
      required = true,
      paramLabel = "DIR",
      description = "Distillation rows that `moe teach` made.")
  private String data;

  @Option(
      names = "--tokenizer",
      paramLabel = "byte|FILE",
      description = "The student's tokenizer; the one beside the rows unless given.")
  private String tokenizer;

  @Option(
      names = "--validation",
      paramLabel = "SHARE",
      defaultValue = "0.02",
      description = "Share of the rows that is held out (default: ${DEFAULT-VALUE}).")
  private double validation;

  DistillCommand(Jobs jobs) {
    this.jobs = jobs;
  }

  @Override
  public Integer call() throws Exception {
    if (!(validation >= 0 && validation < 1)) {
      throw new IllegalArgumentException(
          "--validation must be in [0, 1), got " + validation + "; give a share such as 0.02");
    }
    jobs.distill(new DistillOptions(training.toOptions(data), tokenizer, validation));
    return Main.DONE;
  }
}
