package io.sparkmoe.spark.cli;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(name = "train", description = "Train a model on a prepared dataset.")
final class TrainCommand implements Callable<Integer> {

  private final Jobs jobs;

  @Mixin private CommonOptions common;
  @Mixin private TrainingOptions training;

  @Option(
      names = "--data",
      required = true,
      paramLabel = "DIR",
      description = "Dataset that `moe prepare` made.")
  private String data;

  TrainCommand(Jobs jobs) {
    this.jobs = jobs;
  }

  @Override
  public Integer call() throws Exception {
    jobs.train(training.toOptions(data));
    return Main.DONE;
  }
}
