package io.sparkmoe.spark.cli;

import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.spark.job.Engine;
import io.sparkmoe.spark.job.TrainOptions;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(name = "train", description = "Train a model on a prepared dataset.")
final class TrainCommand implements Callable<Integer> {

  private final Jobs jobs;

  @Mixin private CommonOptions common;
  @Mixin private ConfigOptions config;

  @Option(
      names = "--config",
      required = true,
      paramLabel = "FILE|PRESET",
      description = "YAML file or preset.")
  private String source;

  @Option(
      names = "--data",
      required = true,
      paramLabel = "DIR",
      description = "Dataset that `moe prepare` made.")
  private String data;

  @Option(names = "--out", required = true, paramLabel = "DIR", description = "The run's folder.")
  private String out;

  @Option(
      names = "--steps",
      paramLabel = "N",
      description = "Optimizer steps; stands above train.steps.")
  private Integer steps;

  @Option(
      names = "--resume",
      paramLabel = "auto|never|CHECKPOINT",
      defaultValue = TrainOptions.RESUME_AUTO,
      description =
          "Where to go on from; auto takes the newest whole checkpoint in --out (default:"
              + " ${DEFAULT-VALUE}).")
  private String resume;

  @Option(
      names = "--engine",
      paramLabel = "spark|local",
      defaultValue = "spark",
      description = "Spark executors, or this process alone (default: ${DEFAULT-VALUE}).")
  private Engine engine;

  @Option(
      names = "--executors",
      paramLabel = "P",
      defaultValue = "0",
      description = "Number of executors; 0 = as many as the cluster has.")
  private int executors;

  TrainCommand(Jobs jobs) {
    this.jobs = jobs;
  }

  @Override
  public Integer call() throws Exception {
    ConfigResolver resolver = config.resolver(source);
    if (steps != null) {
      resolver.option("train.steps", steps, "--steps");
    }
    jobs.train(
        new TrainOptions(
            resolver.resolve(),
            data,
            out,
            resume,
            engine,
            Arguments.atLeast(0, executors, "--executors")));
    return Main.DONE;
  }
}
