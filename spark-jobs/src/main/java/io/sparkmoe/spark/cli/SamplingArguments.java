package io.sparkmoe.spark.cli;

import io.sparkmoe.infer.SamplingOptions;
import picocli.CommandLine.Option;

/** How a command that writes text chooses tokens. */
final class SamplingArguments {

  @Option(
      names = "--temperature",
      paramLabel = "T",
      defaultValue = "0",
      description = "Divides the logits; 0 = always the likeliest token (default).")
  private double temperature;

  @Option(
      names = "--top-k",
      paramLabel = "K",
      defaultValue = "0",
      description = "Choose among the K likeliest tokens; 0 = all (default).")
  private int topK;

  @Option(
      names = "--top-p",
      paramLabel = "P",
      defaultValue = "1",
      description =
          "Choose among the likeliest tokens that together have probability P (default: 1).")
  private double topP;

  @Option(
      names = "--seed",
      paramLabel = "S",
      defaultValue = "0",
      description = "Seed of the choices (default: ${DEFAULT-VALUE}).")
  private long seed;

  SamplingOptions options() {
    return new SamplingOptions(temperature, topK, topP, seed);
  }
}
