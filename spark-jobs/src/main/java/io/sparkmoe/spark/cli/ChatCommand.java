package io.sparkmoe.spark.cli;

import io.sparkmoe.spark.job.ChatOptions;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(name = "chat", description = "Talk to a trained model in the terminal.")
final class ChatCommand implements Callable<Integer> {

  private final Jobs jobs;

  @Mixin private CommonOptions common;
  @Mixin private SamplingArguments sampling;
  @Mixin private ModelArguments model;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      defaultValue = "256",
      description = "Most tokens of an answer (default: ${DEFAULT-VALUE}).")
  private int maxTokens;

  ChatCommand(Jobs jobs) {
    this.jobs = jobs;
  }

  @Override
  public Integer call() throws Exception {
    jobs.chat(
        new ChatOptions(
            model.checkpoint(),
            Arguments.atLeast(1, maxTokens, "--max-tokens"),
            sampling.options(),
            model.weights(),
            model.isSpeculative(),
            model.threads()));
    return Main.DONE;
  }
}
