package io.sparkmoe.spark.cli;

import io.sparkmoe.infer.WeightFormat;
import picocli.CommandLine.Option;

/** Which model writes, and how it is held and run. */
final class ModelArguments {

  /** Whether something is done. */
  enum Switch {
    ON,
    OFF
  }

  @Option(
      names = "--checkpoint",
      required = true,
      paramLabel = "DIR",
      description = "A run's folder, a checkpoint's, or a Hugging Face model's.")
  private String checkpoint;

  @Option(
      names = "--weights",
      paramLabel = "fp32|bf16|fp8",
      defaultValue = "fp32",
      description = "How the weights are held (default: ${DEFAULT-VALUE}).")
  private WeightFormat weights;

  @Option(
      names = "--speculative",
      paramLabel = "on|off",
      defaultValue = "off",
      description =
          "Let the model's MTP module, held in FP8, draft tokens that the model verifies: the same"
              + " text, sooner (default: ${DEFAULT-VALUE}).")
  private Switch speculative;

  @Option(
      names = "--threads",
      paramLabel = "T",
      defaultValue = "0",
      description = "Compute threads; 0 = one for each core (default).")
  private int threads;

  String checkpoint() {
    return checkpoint;
  }

  WeightFormat weights() {
    return weights;
  }

  boolean isSpeculative() {
    return speculative == Switch.ON;
  }

  int threads() {
    return Arguments.atLeast(0, threads, "--threads");
  }
}
