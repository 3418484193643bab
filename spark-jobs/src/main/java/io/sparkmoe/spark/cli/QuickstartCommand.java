package io.sparkmoe.spark.cli;

import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.spark.job.QuickstartOptions;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "quickstart",
    description =
        "Prepare the embedded corpus, train a 256-expert model on it and report, in a few minutes.")
final class QuickstartCommand implements Callable<Integer> {

  private final Jobs jobs;

  @Mixin private CommonOptions common;
  @Mixin private ConfigOptions config;

  @Option(
      names = "--out",
      paramLabel = "DIR",
      defaultValue = "moe-quickstart",
      description = "The run's folder (default: ${DEFAULT-VALUE}).")
  private String out;

  @Option(
      names = "--steps",
      paramLabel = "N",
      description = "Optimizer steps; the preset's unless given.")
  private Integer steps;

  @Option(
      names = "--executors",
      paramLabel = "P",
      defaultValue = "0",
      description = TrainingOptions.EXECUTORS)
  private int executors;

  QuickstartCommand(Jobs jobs) {
    this.jobs = jobs;
  }

  @Override
  public Integer call() throws Exception {
    ConfigResolver resolver = config.resolver("quickstart");
    if (steps != null) {
      resolver.option("train.steps", steps, "--steps");
    }
    jobs.quickstart(
        new QuickstartOptions(
            resolver.resolve(), out, Arguments.atLeast(0, executors, "--executors")));
    return Main.DONE;
  }
}
