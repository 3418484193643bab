package io.sparkmoe.spark.cli;

import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

@Command(
    name = "bench",
    description =
        "Measure: `moe bench train`, `moe bench generate`, `moe bench speculative`, `moe bench"
            + " distill`, `moe bench fp8-gradients`.")
final class BenchCommand implements Runnable {

  @Mixin private CommonOptions common;
  @Spec private CommandSpec spec;

  @Override
  public void run() {
    throw new ParameterException(
        spec.commandLine(),
        "missing benchmark: got none, expected train, generate, speculative, distill or"
            + " fp8-gradients; write moe bench train");
  }
}
