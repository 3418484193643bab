package io.sparkmoe.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.infer.SamplingOptions;
import io.sparkmoe.infer.WeightFormat;
import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.io.InsufficientSpaceException;
import io.sparkmoe.spark.data.DocumentFormat;
import io.sparkmoe.spark.data.SourceRule;
import io.sparkmoe.spark.job.BenchGenerateOptions;
import io.sparkmoe.spark.job.BenchOptions;
import io.sparkmoe.spark.job.BenchSpeculativeOptions;
import io.sparkmoe.spark.job.ChatOptions;
import io.sparkmoe.spark.job.DistillOptions;
import io.sparkmoe.spark.job.Engine;
import io.sparkmoe.spark.job.EvaluateOptions;
import io.sparkmoe.spark.job.GenerateOptions;
import io.sparkmoe.spark.job.GradientBenchOptions;
import io.sparkmoe.spark.job.PrepareOptions;
import io.sparkmoe.spark.job.QuickstartOptions;
import io.sparkmoe.spark.job.StudyOptions;
import io.sparkmoe.spark.job.TeachOptions;
import io.sparkmoe.spark.job.TrainOptions;
import io.sparkmoe.train.Precision;
import io.sparkmoe.train.RunConfig;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import picocli.CommandLine;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.OptionSpec;

class MainTest {

  @TempDir Path folder;

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();
  private final RecordingJobs jobs = new RecordingJobs();

  @Test
  void benchSpeculativePassesItsOptionsOn() {
    assertThat(
            run(
                "bench",
                "speculative",
                "--checkpoint",
                "c",
                "--data=d",
                "--weights",
                "fp8,fp32",
                "--temperature",
                "0.8",
                "--prompts",
                "3"))
        .isZero();
    assertThat(jobs.options)
        .isEqualTo(
            new BenchSpeculativeOptions(
                "c",
                "d",
                List.of(WeightFormat.FP8, WeightFormat.FP32),
                new SamplingOptions(0.8, 0, 1, 0),
                3,
                64,
                128,
                1,
                5,
                64,
                0));
  }

  @Test
  void trainPassesItsOptionsOn() {
    assertThat(
            run(
                "train",
                "--config",
                "tiny",
                "--data",
                "d",
                "--out=o",
                "--steps",
                "7",
                "--resume",
                "never",
                "--engine",
                "local",
                "--executors",
                "3",
                "--set",
                "train.lr=0.5",
                "--set",
                "seed=4"))
        .isZero();

    TrainOptions options = (TrainOptions) jobs.options;
    RunConfig config = options.config().toRunConfig();
    assertThat(options.data()).isEqualTo("d");
    assertThat(options.out()).isEqualTo("o");
    assertThat(options.resume()).isEqualTo(TrainOptions.RESUME_NEVER);
    assertThat(options.engine()).isEqualTo(Engine.LOCAL);
    assertThat(options.executors()).isEqualTo(3);
    assertThat(config.train().steps()).isEqualTo(7);
    assertThat(config.train().lr()).isEqualTo(0.5);
    assertThat(config.train().seed()).isEqualTo(4);
  }

  @Test
  void trainReadsAFileAndDefaultsTheRest() throws IOException {
    Path file = folder.resolve("train.yaml");
    Files.writeString(file, "train: {steps: 3}\n");

    assertThat(run("train", "--config", file.toString(), "--data", "d", "--out", "o")).isZero();

    TrainOptions options = (TrainOptions) jobs.options;
    assertThat(options.config().value("train.steps"))
        .get()
        .hasToString("ConfigValue[value=3, layer=FILE, origin=" + file + "]");
    assertThat(options.engine()).isEqualTo(Engine.SPARK);
    assertThat(options.resume()).isEqualTo(TrainOptions.RESUME_AUTO);
    assertThat(options.executors()).isZero();
  }

  @Test
  void generatePassesItsOptionsOn() throws IOException {
    Path prompts = folder.resolve("prompts.txt");
    Files.writeString(prompts, "one\\ntwo\n\nthree\n");
    assertThat(
            run(
                "generate",
                "--checkpoint",
                "c",
                "--prompts",
                prompts.toString(),
                "--max-tokens",
                "7",
                "--temperature",
                "0.5",
                "--top-k",
                "3",
                "--top-p",
                "0.9",
                "--seed",
                "11",
                "--stop",
                "a",
                "--stop",
                "b",
                "--weights",
                "bf16",
                "--speculative",
                "on",
                "--batch",
                "2",
                "--json"))
        .isZero();

    assertThat(jobs.options)
        .isEqualTo(
            new GenerateOptions(
                "c",
                List.of("one\ntwo", "three"),
                7,
                new SamplingOptions(0.5, 3, 0.9, 11),
                List.of("a", "b"),
                WeightFormat.BF16,
                true,
                2,
                0,
                true));
  }

  @Test
  void generateRefusesAnEmptyPromptAndWrongSampling() {
    assertThat(run("generate", "--checkpoint", "c", "--prompt", "")).isEqualTo(2);
    assertThat(run("generate", "--checkpoint", "c", "--prompt", "x", "--top-p", "2")).isEqualTo(2);
    assertThat(run("generate", "--checkpoint", "c")).isEqualTo(2);
    assertThat(err.toString(StandardCharsets.UTF_8).lines().toList())
        .first()
        .isEqualTo("moe: empty prompt: got no text, expected at least one character; write some");
    assertThat(err.toString(StandardCharsets.UTF_8)).contains("top-p must be in (0, 1], got 2.0");
    assertThat(jobs.options).isNull();
  }

  @Test
  void benchOverridesTheConfigWhereAsked() {
    assertThat(
            run(
                "bench",
                "train",
                "--batch",
                "4",
                "--seq",
                "64",
                "--steps",
                "3",
                "--precision",
                "fp8",
                "--threads",
                "2"))
        .isZero();

    BenchOptions options = (BenchOptions) jobs.options;
    RunConfig config = options.config().toRunConfig();
    assertThat(config.model().moeIntermediateSize()).isEqualTo(128);
    assertThat(config.train().batchSequences()).isEqualTo(4);
    assertThat(config.train().seqLen()).isEqualTo(64);
    assertThat(config.train().steps()).isEqualTo(3);
    assertThat(config.train().precision()).isEqualTo(Precision.FP8);
    assertThat(options).returns(2, BenchOptions::warmup).returns(0, BenchOptions::executors);
    assertThat(options.threads()).isEqualTo(2);
  }

  @Test
  void evaluateAndQuickstartPassTheirOptionsOn() {
    assertThat(run("evaluate", "--checkpoint", "c", "--data", "d")).isZero();
    assertThat(jobs.options).isEqualTo(new EvaluateOptions("c", "d", null, null));

    assertThat(run("quickstart", "--out", "q", "--steps", "5")).isZero();
    QuickstartOptions options = (QuickstartOptions) jobs.options;
    assertThat(options.out()).isEqualTo("q");
    assertThat(options.config().toRunConfig().train().steps()).isEqualTo(5);
  }

  @Test
  void preparePassesItsOptionsOn() {
    assertThat(
            run(
                "prepare",
                "--input",
                "a.txt",
                "b.txt",
                "--format",
                "text",
                "--tokenizer",
                "bpe:4096",
                "--seq-len",
                "256",
                "--out",
                "d"))
        .isZero();
    assertThat(jobs.options)
        .isEqualTo(
            new PrepareOptions(
                List.of("a.txt", "b.txt"),
                DocumentFormat.TEXT,
                "text",
                SourceRule.single(),
                "bpe:4096",
                256,
                0.02,
                "d"));

    assertThat(
            run(
                "prepare",
                "--input",
                "a",
                "--format",
                "JSONL",
                "--text-column",
                "body",
                "--tokenizer",
                "byte",
                "--seq-len",
                "8",
                "--validation",
                "0",
                "--out",
                "d",
                "--source-languages",
                "de,fr"))
        .isZero();
    assertThat(jobs.options)
        .isEqualTo(
            new PrepareOptions(
                List.of("a"),
                DocumentFormat.JSONL,
                "body",
                SourceRule.language(List.of("de", "fr")),
                "byte",
                8,
                0,
                "d"));
  }

  @Test
  void helpSaysHowManyExecutorsThereAreUnlessANumberIsGiven() {
    for (String command : List.of("quickstart", "train", "distill")) {
      out.reset();
      assertThat(run(command, "--help")).isZero();
      // A line may end within a word that has dots.
      assertThat(out.toString(StandardCharsets.UTF_8).replaceAll("\\s+", ""))
          .contains(
              ("Number of executors; 0 = as many as the settings name: one with local[N], W with"
                      + " local-cluster[W,...], spark.executor.instances on YARN and Kubernetes;"
                      + " spark://HOST:PORT needs a number (default: 0).")
                  .replace(" ", ""));
    }
  }

  @Test
  void everyCommandHasHelp() {
    for (String command :
        List.of(
            "",
            "quickstart",
            "train",
            "distill",
            "prepare",
            "evaluate",
            "inspect",
            "bench",
            "bench train",
            "bench distill")) {
      List<String> words = new ArrayList<>(List.of((command + " --help").strip().split(" ")));
      out.reset();
      assertThat(run(words.toArray(String[]::new))).as(command).isZero();
      assertThat(out.toString(StandardCharsets.UTF_8)).startsWith("Usage: moe").contains("--debug");
    }
    assertThat(jobs.options).isNull();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '~',
      textBlock =
          """
          '' ~ moe: missing command: got none, expected one such as quickstart; see moe --help
          trian ~ moe: unknown command: got trian, expected train; see moe --help
          train --config tiny --data d ~ moe: missing options: got none of these names, expected --out=DIR; see moe train --help
          train --config tiny --data d --out o --stpes 3 ~ moe: unknown option: got --stpes, expected --steps; see moe train --help
          train --config tiny --data d --out o more ~ moe: too many arguments: got more, expected none like it; see moe train --help
          train --config tiny --data d --out o --steps x ~ moe: wrong usage: Invalid value for option '--steps': 'x' is not an int; see moe train --help
          train --config tiny --data d --out o --executors -1 ~ moe: wrong --executors: got -1, expected at least 0; correct it
          train --config tiny --data d --out o --set lrr=1 ~ moe: unknown config key: got lrr from --set lrr, the nearest known one is train.lr; correct it there
          train --config tinny --data d --out o ~ moe: no such config: got tinny, expected a YAML file or one of the presets quickstart, bench-small, dense-small, tiny, deepseek-v3, char-teacher, char-student; correct the name
          bench ~ moe: missing benchmark: got none, expected train, generate, speculative, distill or fp8-gradients; write moe bench train
          distill --config tiny --data d --out o --validation 1 ~ moe: distill failed: --validation must be in [0, 1), got 1.0; give a share such as 0.02
          prepare --input a --format xml --tokenizer byte --seq-len 8 --out o ~ moe: wrong usage: Invalid value for option '--format': expected one of [TEXT, PARAGRAPHS, JSONL, PARQUET] (case-insensitive) but was 'xml'; see moe prepare --help
          prepare --input a --format text --tokenizer byte --seq-len 1 --out o ~ moe: prepare failed: --seq-len must be in [2, 1048576], got 1; correct it and run again
          rl --anything 3 more ~ moe: command not built yet: got rl, expected one that moe --help lists; take a later version
          teach --prompts p --teacher http://h --out o --price-in 1 --budget-money NaN ~ moe: wrong --budget-money: got NaN, expected a number of at least 0; correct it
          teach --prompts p --teacher http://h --out o --price-in 1 --budget-money -1 ~ moe: wrong --budget-money: got -1.0, expected a number of at least 0; correct it
          teach --prompts p --teacher checkpoint:c --out o --price-out Infinity ~ moe: wrong --price-out: got Infinity, expected a number of at least 0; correct it
          inspect ~ moe: missing options: got none of these names, expected PATH|PRESET; see moe inspect --help
          """)
  void wrongUsageIsOneSentenceAndStatusTwo(String line, String sentence) {
    String[] words = line.isEmpty() ? new String[0] : line.split(" ");

    assertThat(run(words)).isEqualTo(2);

    assertThat(err.toString(StandardCharsets.UTF_8)).isEqualTo(sentence + System.lineSeparator());
    assertThat(jobs.options).isNull();
  }

  @Test
  void aConfigWithoutANameOrWithAFoldersIsRefusedInOneSentence() {
    assertThat(run("train", "--config", "", "--data", "d", "--out", "o")).isEqualTo(2);
    assertThat(run("train", "--config", folder.toString(), "--data", "d", "--out", "o"))
        .isEqualTo(2);
    assertThat(run("train", "--config", "/", "--data", "d", "--out", "o")).isEqualTo(2);
    String expected =
        ", expected a YAML file or one of the presets quickstart, bench-small, dense-small, tiny,"
            + " deepseek-v3, char-teacher, char-student; correct the name";
    assertThat(err.toString(StandardCharsets.UTF_8).lines())
        .containsExactly(
            "moe: no such config: got an empty name" + expected,
            "moe: no file: got the folder " + folder + expected,
            "moe: no file: got the folder /" + expected);
  }

  static Stream<Arguments> failures() {
    return Stream.of(
        Arguments.of(new IllegalArgumentException("a: 1, 2; do it"), 2, "moe: a: 1, 2; do it"),
        Arguments.of(
            new CorruptFileException("f", "it is empty"),
            2,
            "moe: f is damaged: it is empty; correct it and run again"),
        Arguments.of(
            new UncheckedIOException(
                new InsufficientSpaceException("x", "/d", 2_000_000, 1, "free some")),
            2,
            "moe: not enough space for x: /d has 1 MB free, expected 2 MB; free some"),
        Arguments.of(
            new java.io.FileNotFoundException("d/x does not exist"),
            2,
            "moe: train failed: d/x does not exist; correct the path"),
        Arguments.of(
            new IllegalArgumentException("input in.txt is empty, expected text"),
            2,
            "moe: train failed: input in.txt is empty, expected text; correct it and run again"),
        Arguments.of(
            new IllegalStateException("rank 1 is late: a\nb"),
            1,
            "moe: rank 1 is late: a; run it again with --debug for details"),
        Arguments.of(
            new NullPointerException(),
            1,
            "moe: train failed: got NullPointerException, expected no error; run it again with --debug for details"));
  }

  @ParameterizedTest
  @MethodSource("failures")
  void aFailureIsOneSentenceWithoutATraceUnlessAskedFor(
      Exception failure, int status, String sentence) {
    jobs.failure = failure;

    assertThat(run("train", "--config", "tiny", "--data", "d", "--out", "o")).isEqualTo(status);
    assertThat(err.toString(StandardCharsets.UTF_8)).isEqualTo(sentence + System.lineSeparator());

    err.reset();
    assertThat(run("train", "--config", "tiny", "--data", "d", "--out", "o", "--debug"))
        .isEqualTo(status);
    assertThat(err.toString(StandardCharsets.UTF_8))
        .contains("at io.sparkmoe.spark.cli")
        .endsWith(sentence + System.lineSeparator());
  }

  @Test
  void anErrorIsOneSentenceToo() {
    jobs.failure = new OutOfMemoryError("Java heap space");

    assertThat(run("train", "--config", "tiny", "--data", "d", "--out", "o")).isEqualTo(1);
    assertThat(err.toString(StandardCharsets.UTF_8))
        .isEqualTo(
            "moe: train failed: got OutOfMemoryError (Java heap space), expected no error; run it"
                + " again with --debug for details"
                + System.lineSeparator());
  }

  @Test
  void aConfigThatNestsWithoutEndIsWrongInput() throws IOException {
    Path file = Files.writeString(folder.resolve("a.yaml"), "train: &a\n  x: *a\n");

    assertThat(run("train", "--config", file.toString(), "--data", "d", "--out", "o")).isEqualTo(2);
    assertThat(err.toString(StandardCharsets.UTF_8))
        .startsWith("moe: cannot read config: " + file)
        .hasLineCount(1);
  }

  /** A new option is a decision: add it here, and to the README, on purpose. */
  @Test
  void theseAreAllOptionsOfAllCommands() throws IOException {
    List<String> options = new ArrayList<>();
    collect(Main.commandLine(jobs, new PrintStream(out)), options);
    String expected;
    try (InputStream in = getClass().getResourceAsStream("options.txt")) {
      expected = new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }
    assertThat(String.join("\n", options) + "\n").isEqualTo(expected);
  }

  private static void collect(CommandLine command, List<String> options) {
    String name = command.getCommandSpec().qualifiedName();
    if (command.getCommandSpec().userObject() instanceof PlannedCommand) {
      options.add(name + " (planned)");
      return;
    }
    options.add(name);
    for (ArgSpec argument : command.getCommandSpec().positionalParameters()) {
      options.add("  " + argument.paramLabel());
    }
    command.getCommandSpec().options().stream()
        .map(option -> "  " + describe(option))
        .sorted()
        .forEach(options::add);
    command.getSubcommands().values().forEach(inner -> collect(inner, options));
  }

  private static String describe(OptionSpec option) {
    String value = option.arity().max() == 0 ? "" : " " + option.paramLabel();
    return String.join(", ", option.names())
        + value
        + (option.required() && option.group() == null ? " (required)" : "");
  }

  private int run(String... words) {
    return Main.run(words, jobs, new PrintStream(out, true), new PrintStream(err, true));
  }

  /** Keeps what a command asked for, or fails as told. */
  private static final class RecordingJobs implements Jobs {
    private Record options;
    private Throwable failure;

    private void record(Record given) throws Exception {
      if (failure instanceof Error error) {
        throw error;
      }
      if (failure != null) {
        throw (Exception) failure;
      }
      options = given;
    }

    @Override
    public void prepare(PrepareOptions given) throws Exception {
      record(given);
    }

    @Override
    public void train(TrainOptions given) throws Exception {
      record(given);
    }

    @Override
    public void teach(TeachOptions given) throws Exception {
      record(given);
    }

    @Override
    public void distill(DistillOptions given) throws Exception {
      record(given);
    }

    @Override
    public void evaluate(EvaluateOptions given) throws Exception {
      record(given);
    }

    @Override
    public void generate(GenerateOptions given) throws Exception {
      record(given);
    }

    @Override
    public void chat(ChatOptions given) throws Exception {
      record(given);
    }

    @Override
    public void benchGenerate(BenchGenerateOptions given) throws Exception {
      record(given);
    }

    @Override
    public void benchSpeculative(BenchSpeculativeOptions given) throws Exception {
      record(given);
    }

    @Override
    public void benchTrain(BenchOptions given) throws Exception {
      record(given);
    }

    @Override
    public void benchDistill(StudyOptions given) throws Exception {
      record(given);
    }

    @Override
    public void benchGradients(GradientBenchOptions given) throws Exception {
      record(given);
    }

    @Override
    public void quickstart(QuickstartOptions given) throws Exception {
      record(given);
    }
  }
}
