package io.sparkmoe.spark.cli;

import io.sparkmoe.infer.TextGenerator;
import io.sparkmoe.spark.job.GenerateOptions;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(name = "generate", description = "Continue a prompt with a trained model.")
final class GenerateCommand implements Callable<Integer> {

  private final Jobs jobs;

  @Mixin private CommonOptions common;
  @Mixin private SamplingArguments sampling;
  @Mixin private ModelArguments model;

  @ArgGroup(multiplicity = "1")
  private Prompts prompts;

  /** Where the prompts come from. */
  static final class Prompts {
    @Option(names = "--prompt", paramLabel = "TEXT", description = "Text to continue.")
    private String prompt;

    @Option(
        names = "--prompts",
        paramLabel = "FILE",
        description = "A file with one prompt a line; `\\n` in it is a line break.")
    private String file;
  }

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      defaultValue = "0",
      description = "Most tokens of a text; 0 = 128, or less if the context ends (default).")
  private int maxTokens;

  @Option(
      names = "--stop",
      paramLabel = "TEXT",
      description = "End the text before this string; may be repeated.")
  private List<String> stops = new ArrayList<>();

  @Option(
      names = "--batch",
      paramLabel = "B",
      defaultValue = "" + TextGenerator.DEFAULT_BATCH,
      description = "Texts written at the same time (default: ${DEFAULT-VALUE}).")
  private int batch;

  @Option(names = "--json", description = "One JSON object for each text instead of the text.")
  private boolean json;

  GenerateCommand(Jobs jobs) {
    this.jobs = jobs;
  }

  @Override
  public Integer call() throws Exception {
    jobs.generate(
        new GenerateOptions(
            model.checkpoint(),
            prompts(),
            Arguments.atLeast(0, maxTokens, "--max-tokens"),
            sampling.options(),
            stops,
            model.weights(),
            model.isSpeculative(),
            Arguments.atLeast(1, batch, "--batch"),
            model.threads(),
            json));
    return Main.DONE;
  }

  private List<String> prompts() throws IOException {
    List<String> given =
        prompts.file == null
            ? List.of(prompts.prompt)
            : ConfigOptions.readText(prompts.file, "prompts", "a file with one prompt a line")
                .lines()
                .filter(line -> !line.isBlank())
                .map(line -> line.replace("\\n", "\n"))
                .toList();
    if (given.isEmpty() || given.stream().anyMatch(String::isEmpty)) {
      throw new IllegalArgumentException(
          "empty prompt: got no text, expected at least one character; write some");
    }
    return given;
  }
}
