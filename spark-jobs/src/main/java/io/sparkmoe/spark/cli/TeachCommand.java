package io.sparkmoe.spark.cli;

import io.sparkmoe.distill.SamplingSettings;
import io.sparkmoe.distill.quality.QualityLimits;
import io.sparkmoe.spark.data.DocumentFormat;
import io.sparkmoe.spark.job.TeachOptions;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
    name = "teach",
    description = "Ask a teacher for answers and log-probabilities, as a dataset in Parquet.",
    footer = {
      "",
      "Answers are kept as they come: the same command goes on where an earlier one stopped."
    })
final class TeachCommand implements Callable<Integer> {

  private static final String ANY = "any";

  private final Jobs jobs;

  @Mixin private CommonOptions common;

  @Option(
      names = "--prompts",
      required = true,
      arity = "1..*",
      paramLabel = "PATH",
      description =
          "Files, folders or patterns: text (a prompt a line, or a paragraph), or JSONL or Parquet"
              + " with a column prompt or messages.")
  private List<String> prompts;

  @Option(
      names = "--format",
      paramLabel = "text|paragraphs|jsonl|parquet",
      description = "How prompts lie in them (default: what the names end in).")
  private DocumentFormat format;

  @Option(
      names = "--teacher",
      required = true,
      paramLabel = "URL|checkpoint:DIR|dl4j:FILE",
      description =
          "An OpenAI-compatible endpoint, a checkpoint (or a run, for its newest), or a DL4J zip or"
              + " Keras h5.")
  private String teacher;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR",
      description = "Folder to write: absent, empty, or of an earlier run to go on with.")
  private String out;

  @Option(
      names = "--tokenizer",
      paramLabel = "byte|FILE",
      description =
          "The teacher's tokenizer, where it has none of its own: tokenizer.json, byte, or for dl4j"
              + " a file with its characters (default: ids stay null for an endpoint).")
  private String tokenizer;

  @Option(
      names = "--force",
      description =
          "Judge given text instead of answering: the column completion, or with --seq-len whole"
              + " texts.")
  private boolean force;

  @Option(
      names = "--seq-len",
      paramLabel = "N",
      defaultValue = "0",
      description = "With --force: cut whole texts into windows of so many tokens; 0 = do not.")
  private int seqLen;

  @ArgGroup(validate = false, heading = "%nAnswers:%n")
  private final Answers answers = new Answers();

  @ArgGroup(validate = false, heading = "%nEndpoints (limits hold for all executors together):%n")
  private final Host host = new Host();

  @ArgGroup(validate = false, heading = "%nWhat is kept:%n")
  private final Quality quality = new Quality();

  private static final class Answers {
    @Option(
        names = "--top-k",
        paramLabel = "K",
        defaultValue = "0",
        description = "Keep the K most probable tokens at each position; 0 = none.")
    private int topK;

    @Option(
        names = "--max-tokens",
        paramLabel = "N",
        defaultValue = "512",
        description = "Tokens of an answer at most (default: ${DEFAULT-VALUE}).")
    private int maxTokens;

    @Option(
        names = "--temperature",
        paramLabel = "T",
        defaultValue = "1",
        description = "0 = the most probable token, 1 = as the teacher (default: 1).")
    private double temperature;

    @Option(
        names = "--top-p",
        paramLabel = "P",
        defaultValue = "1",
        description = "Sample from the most probable tokens of this mass (default: 1 = all).")
    private double topP;

    @Option(
        names = "--seed",
        paramLabel = "S",
        defaultValue = "1",
        description = "Every request gets its own seed from it (default: 1).")
    private long seed;

    @Option(
        names = "--samples",
        paramLabel = "N",
        defaultValue = "1",
        description = "Answers for each prompt (default: 1).")
    private int samples;
  }

  private static final class Host {
    @Option(
        names = "--model",
        paramLabel = "NAME",
        description = "Model to ask for (default: the only one that the endpoint lists).")
    private String model;

    @Option(
        names = "--completions",
        description = "Use /completions for an address that does not say, not /chat/completions.")
    private boolean completions;

    @Option(
        names = "--api-key-file",
        paramLabel = "FILE",
        description = "File with the key (default: the variable MOE_TEACHER_API_KEY, if set).")
    private String keyFile;

    @Option(
        names = "--concurrency",
        paramLabel = "N",
        defaultValue = "8",
        description = "Requests under way at most (default: ${DEFAULT-VALUE}).")
    private int concurrency;

    @Option(
        names = "--rate",
        paramLabel = "R",
        defaultValue = "0",
        description = "Requests started per second at most; 0 = no limit (default).")
    private double rate;

    @Option(
        names = "--timeout",
        paramLabel = "SECONDS",
        defaultValue = "300",
        description = "Wait for a whole reply at most (default: ${DEFAULT-VALUE}).")
    private int timeout;

    @Option(
        names = "--max-attempts",
        paramLabel = "N",
        defaultValue = "6",
        description = "Tries of a request (default: ${DEFAULT-VALUE}).")
    private int maxAttempts;

    @Option(
        names = "--budget-tokens",
        paramLabel = "N",
        defaultValue = "0",
        description = "Tokens read and written at most, earlier runs included; 0 = no limit.")
    private long budgetTokens;

    @Option(
        names = "--budget-money",
        paramLabel = "M",
        defaultValue = "0",
        description = "Money at most, earlier runs included; needs prices; 0 = no limit.")
    private double budgetMoney;

    @Option(
        names = "--price-in",
        paramLabel = "M",
        defaultValue = "0",
        description = "Price of a million tokens read.")
    private double priceIn;

    @Option(
        names = "--price-out",
        paramLabel = "M",
        defaultValue = "0",
        description = "Price of a million tokens written.")
    private double priceOut;
  }

  private static final class Quality {
    @Option(
        names = "--finish-reasons",
        paramLabel = "any|REASON,...",
        split = ",",
        description = "Reasons to stop that are good (default: stop for endpoints, else any).")
    private List<String> finishReasons;

    @Option(
        names = "--min-chars",
        paramLabel = "N",
        defaultValue = "1",
        description = "Characters of an answer at least (default: ${DEFAULT-VALUE}).")
    private int minChars;

    @Option(
        names = "--max-chars",
        paramLabel = "N",
        defaultValue = "0",
        description = "Characters of an answer at most; 0 = no limit (default).")
    private int maxChars;

    @Option(
        names = "--max-repetition",
        paramLabel = "SHARE",
        defaultValue = "0.5",
        description =
            "Share of 16-character runs that occurred before, at most; 1 = any (default: 0.5).")
    private double maxRepetition;

    @Option(
        names = "--languages",
        paramLabel = "CODE,...",
        split = ",",
        description = "Languages of answers, ISO 639-1 (default: any).")
    private List<String> languages = List.of();

    @Option(
        names = "--evaluation",
        paramLabel = "PATH",
        description = "Evaluation set: what shares 8 words in a row with it is left out.")
    private String evaluation;

    @Option(
        names = "--keep-all",
        description = "Switch all filters off, that of equal answers to a prompt too.")
    private boolean keepAll;
  }

  TeachCommand(Jobs jobs) {
    this.jobs = jobs;
  }

  @Override
  public Integer call() throws Exception {
    jobs.teach(
        new TeachOptions(
            new TeachOptions.Prompts(prompts, format, force, seqLen),
            teacher,
            new TeachOptions.Host(
                host.model,
                host.completions,
                host.keyFile,
                Arguments.atLeast(1, host.concurrency, "--concurrency"),
                host.rate,
                Arguments.atLeast(1, host.timeout, "--timeout"),
                Arguments.atLeast(1, host.maxAttempts, "--max-attempts"),
                host.budgetTokens,
                host.budgetMoney,
                host.priceIn,
                host.priceOut),
            tokenizer,
            new SamplingSettings(
                answers.maxTokens, answers.temperature, answers.topP, answers.topK, answers.seed),
            answers.samples,
            limits(),
            quality.finishReasons == null && !quality.keepAll,
            quality.keepAll ? null : quality.evaluation,
            out));
    return Main.DONE;
  }

  private QualityLimits limits() {
    if (quality.keepAll) {
      return new QualityLimits(List.of(), 0, 0, 1, List.of(), false);
    }
    boolean any = quality.finishReasons == null || quality.finishReasons.equals(List.of(ANY));
    return new QualityLimits(
        any ? List.of() : quality.finishReasons,
        quality.minChars,
        quality.maxChars,
        quality.maxRepetition,
        quality.languages,
        true);
  }
}
