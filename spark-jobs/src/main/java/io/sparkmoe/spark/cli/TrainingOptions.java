package io.sparkmoe.spark.cli;

import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.spark.job.Engine;
import io.sparkmoe.spark.job.TrainOptions;
import java.io.IOException;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** What every command that trains a model takes. */
final class TrainingOptions {

  /** What a number of executors says. */
  static final String EXECUTORS =
      "Number of executors; 0 = as many as the settings name: one with local[N], W with"
          + " local-cluster[W,...], spark.executor.instances on YARN and Kubernetes;"
          + " spark://HOST:PORT needs a number (default: ${DEFAULT-VALUE}).";

  @Mixin private ConfigOptions config;

  @Option(
      names = "--config",
      required = true,
      paramLabel = "FILE|PRESET",
      description = "YAML file or preset.")
  private String source;

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

  @Option(names = "--executors", paramLabel = "P", defaultValue = "0", description = EXECUTORS)
  private int executors;

  /**
   * The options as the job takes them.
   *
   * @param data folder to train on
   */
  TrainOptions toOptions(String data) throws IOException {
    ConfigResolver resolver = config.resolver(source);
    if (steps != null) {
      resolver.option("train.steps", steps, "--steps");
    }
    return new TrainOptions(
        resolver.resolve(),
        data,
        out,
        resume,
        engine,
        Arguments.atLeast(0, executors, "--executors"));
  }
}
