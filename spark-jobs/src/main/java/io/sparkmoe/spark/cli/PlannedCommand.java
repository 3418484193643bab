package io.sparkmoe.spark.cli;

import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;
import picocli.CommandLine.Unmatched;

/** Answers for a command of the interface that this version does not have, whatever its options. */
@Command(hidden = true)
final class PlannedCommand implements Callable<Integer> {

  @Mixin private CommonOptions common;
  @Unmatched private List<String> ignored;
  @Spec private CommandSpec spec;

  @Override
  public Integer call() {
    throw notBuilt(spec.name());
  }

  static IllegalArgumentException notBuilt(String command) {
    return new IllegalArgumentException(
        "command not built yet: got "
            + command
            + ", expected one that moe --help lists; take a later version");
  }
}
