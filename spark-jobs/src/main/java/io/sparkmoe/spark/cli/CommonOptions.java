package io.sparkmoe.spark.cli;

import picocli.CommandLine.Option;

/** Options that every command takes. */
final class CommonOptions {

  static final String DEBUG = "--debug";

  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      description = "Show this help.")
  private boolean help;

  @Option(names = DEBUG, description = "Show stack traces of failures.")
  private boolean debug;
}
