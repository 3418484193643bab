package io.sparkmoe.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.sparkmoe.data.ByteTokenizer;
import io.sparkmoe.data.ChatMessage;
import io.sparkmoe.data.ChatTemplate;
import io.sparkmoe.distill.DistillationInfo;
import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.spark.data.DistillationFiles;
import io.sparkmoe.spark.data.DocumentFormat;
import io.sparkmoe.spark.data.LocalSpark;
import io.sparkmoe.spark.data.SourceRule;
import io.sparkmoe.spark.job.PrepareJob;
import io.sparkmoe.spark.job.PrepareOptions;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.apache.commons.io.FileUtils;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Commands on a model that {@code moe train} has made: the preset {@code tiny}, taught by heart to
 * answer "red" with "stop" and "green" with "go".
 */
class TrainedModelTest {

  private static final int STEPS = 120;
  private static final String NEWEST = "checkpoints/step-00000120";
  private static final String OLDER = "checkpoints/step-00000100";
  private static final ObjectMapper JSON = new ObjectMapper();

  @RegisterExtension static final LocalSpark SPARK = new LocalSpark();

  @TempDir static Path shared;
  private static Path data;
  private static Path run;

  @TempDir Path folder;

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();

  @BeforeAll
  static void train() throws IOException {
    Random random = new Random(1);
    List<String> conversations = new ArrayList<>();
    for (int i = 0; i < 60; i++) {
      StringBuilder turns = new StringBuilder();
      for (int turn = 0; turn < 8; turn++) {
        boolean red = random.nextBoolean();
        turns.append(red ? "User: red\n\nAssistant: stop\n\n" : "User: green\n\nAssistant: go\n\n");
      }
      conversations.add(
          JsonNodeFactory.instance.objectNode().put("text", turns.toString()).toString());
    }
    Path texts = Files.write(shared.resolve("texts.jsonl"), conversations);
    data = shared.resolve("data");
    PrepareOptions options =
        new PrepareOptions(
            List.of(texts.toString()),
            DocumentFormat.JSONL,
            PrepareOptions.DEFAULT_TEXT_COLUMN,
            SourceRule.single(),
            "byte",
            64,
            0.1,
            data.toString());
    new PrepareJob(SPARK.session(), options).run();
    run = shared.resolve("run");
    TrainedModelTest command = new TrainedModelTest();
    assertThat(command.train(run)).as(command.text(command.err)).isZero();
  }

  private int train(Path into, String... more) {
    List<String> words =
        new ArrayList<>(
            List.of(
                "train",
                "--config",
                "tiny",
                "--data",
                data.toString(),
                "--out",
                into.toString(),
                "--engine",
                "local",
                "--steps",
                "" + STEPS,
                "--set",
                "train.seq_len=64",
                "--set",
                "train.lr=0.01",
                "--set",
                "train.eval_every=0",
                "--set",
                "train.checkpoint_every=100",
                "--set",
                "cluster.gemm_backend=openblas"));
    words.addAll(List.of(more));
    return moe("", words.toArray(String[]::new));
  }

  @Test
  @DisplayName("a prompt is continued, and drafting tokens changes nothing")
  void generates() throws IOException {
    JsonNode plain = generated("--speculative", "off");
    assertThat(plain.path("text").asText()).isEqualTo(" stop");
    assertThat(plain.path("finishReason").asText()).isEqualTo("stop");
    assertThat(plain.path("promptIds").size()).isEqualTo(21);
    assertThat(plain.path("logProbabilities").size()).isEqualTo(plain.path("tokenIds").size());
    assertThat(plain.path("draftAcceptance").isNull()).isTrue();
    JsonNode drafted = generated("--speculative", "on");
    assertThat(drafted.path("text")).isEqualTo(plain.path("text"));
    assertThat(drafted.path("draftAcceptance").asDouble()).isBetween(0.0, 1.0);
  }

  private JsonNode generated(String... options) throws IOException {
    List<String> words =
        new ArrayList<>(
            List.of(
                "generate",
                "--checkpoint",
                run.toString(),
                "--prompt",
                "User: red\n\nAssistant:",
                "--stop",
                "\n",
                "--max-tokens",
                "12",
                "--json"));
    words.addAll(List.of(options));
    out.reset();
    assertThat(moe("", words.toArray(String[]::new))).as(text(err)).isZero();
    return JSON.readTree(text(out));
  }

  @Test
  @DisplayName("several prompts of a file are written at a time")
  void generatesSeveral() throws IOException {
    Path prompts = folder.resolve("prompts.txt");
    Files.writeString(prompts, "User: red\\n\\nAssistant:\nUser: green\\n\\nAssistant:\n");
    assertThat(
            moe(
                "",
                "generate",
                "--checkpoint=" + run.resolve(NEWEST),
                "--prompts=" + prompts,
                "--stop=\n"))
        .as(text(err))
        .isZero();
    assertThat(text(out).lines())
        .containsSubsequence("--- 1: User: red", "Assistant: stop")
        .containsSubsequence("--- 2: User: green", "Assistant: go");
  }

  @Test
  @DisplayName("a chat over a pipe answers turn by turn, forgets, and ends with the input")
  void chats() {
    assertThat(moe("red\n\n green \n/quit\n/reset\nred\n", "chat", "--checkpoint", run.toString()))
        .as(text(err))
        .isZero();
    assertThat(text(out).lines().map(String::strip).filter(line -> !line.isEmpty()))
        .containsExactly(">  stop", "> >  go", "> > >  stop", ">");
    assertThat(text(err))
        .contains("context of 128 tokens")
        .contains("unknown command /quit, expected /reset or /exit")
        .contains("forgotten");
  }

  @Test
  @DisplayName("a message that the context has no room for is refused, and the chat goes on")
  void chatsOn() {
    String tooLong = "red ".repeat(40);
    assertThat(moe(tooLong + "\nred\n/exit\ngreen\n", "chat", "--checkpoint", run.toString()))
        .as(text(err))
        .isZero();
    assertThat(text(err))
        .contains("context is full: the conversation would have ")
        .contains("expected fewer than max_position_embeddings=128; start anew with /reset");
    assertThat(text(out)).contains(">  stop").doesNotContain("go");
  }

  @Test
  @DisplayName("a teacher answers and judges conversations, which a student learns from")
  void teachesConversations() throws IOException {
    Path prompts = folder.resolve("prompts.jsonl");
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < 6; i++) {
      lines.add(talk(i % 2 == 0 ? "red" : "green", "go ", i));
    }
    Files.write(prompts, lines);
    assertThat(teach(prompts, "answered", "--temperature=0")).as(text(err)).isZero();
    for (DistillationRow row : rows("answered")) {
      List<ChatMessage> messages = row.messages();
      ChatMessage answer = messages.get(messages.size() - 1);
      boolean red = messages.get(messages.size() - 2).content().equals("red");
      assertThat(answer).isEqualTo(new ChatMessage("assistant", red ? "stop" : "go"));
      assertThat(row.prompt()).isNull();
      assertThat(row.finishReason()).isEqualTo("stop");
      assertThat(row.completion()).isEqualTo(red ? " stop" : " go");
      assertThat(row.completionIds()).containsExactly(new ByteTokenizer().encode(row.completion()));
      assertThat(row.templateSha256()).isEqualTo(ChatTemplate.sha256());
    }
    assertThat(teach(prompts, "judged", "--force")).as(text(err)).isZero();
    assertThat(rows("judged")).extracting(DistillationRow::completion).containsOnly(" go");

    for (String taught : List.of("answered", "judged")) {
      assertThat(distill(taught)).as(text(err)).isZero();
    }
    LocalStore judged = new LocalStore(folder.resolve("judged"));
    List<DistillationRow> others =
        rows("judged").stream().map(row -> row.toBuilder().templateSha256("f00d").build()).toList();
    DistillationFiles.write(
        judged,
        others.iterator(),
        judged.readText("tokenizer.json"),
        DistillationInfo.fromJson(judged.readText(DistillationInfo.FILE), "judged"));
    err.reset();
    assertThat(distill("judged")).isEqualTo(2);
    assertThat(text(err))
        .contains(" has ids of the chat template with SHA-256 f00d, the student's has ")
        .hasLineCount(1);

    Files.writeString(prompts, talk("red", "", 0).replace("system", "tool"));
    err.reset();
    assertThat(teach(prompts, "refused")).isEqualTo(2);
    assertThat(text(err))
        .contains("the chat template has no turn for a role: got tool, expected system, user or")
        .hasLineCount(1);
  }

  private static String talk(String question, String completion, int number) {
    return """
        {"messages": [{"role": "system", "content": "%d"}, {"role": "user", "content": "green"}, \
        {"role": "assistant", "content": "go"}, {"role": "user", "content": "%s"}], \
        "completion": "%s"}"""
        .formatted(number, question, completion);
  }

  private int teach(Path prompts, String into, String... more) {
    List<String> words =
        new ArrayList<>(
            List.of(
                "teach",
                "--prompts=" + prompts,
                "--teacher=checkpoint:" + run,
                "--max-tokens=12",
                "--top-k=2",
                "--keep-all",
                "--out=" + folder.resolve(into)));
    words.addAll(List.of(more));
    Map<String, String> spark = Map.of("spark.master", "local[2]", "spark.ui.enabled", "false");
    spark.forEach(System::setProperty);
    try {
      return moe("", words.toArray(String[]::new));
    } finally {
      spark.keySet().forEach(System::clearProperty);
    }
  }

  private List<DistillationRow> rows(String into) throws IOException {
    Path taught = folder.resolve(into);
    try (Stream<Path> files = Files.list(taught.resolve("data"))) {
      // Spark's marks and checksums beside the rows.
      for (Path file : files.filter(f -> !f.toString().endsWith(".parquet")).toList()) {
        Files.delete(file);
      }
    }
    List<DistillationRow> rows = new ArrayList<>();
    DistillationFiles.read(new LocalStore(taught), new Configuration(), rows::add);
    assertThat(rows).hasSize(6);
    return rows;
  }

  private int distill(String taught) {
    return moe(
        "",
        "distill",
        "--config=tiny",
        "--data=" + folder.resolve(taught),
        "--out=" + folder.resolve("student-" + taught),
        "--engine=local",
        "--steps=2",
        "--validation=0");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '~',
      textBlock =
          """
          generate --checkpoint nowhere --prompt red ~ no model: nowhere holds none, expected the folder of a run
          chat --checkpoint nowhere ~ no model: nowhere holds none, expected the folder of a run
          generate --checkpoint RUN --prompt= ~ empty prompt: got no text, expected at least one character; write some
          generate --checkpoint RUN --prompt red --max-tokens 126 ~ context overflow: got a prompt of 3 tokens and max tokens 126, expected at most max_position_embeddings=128 together
          """)
  @DisplayName("wrong input is one sentence and status 2")
  void refusesWrongInput(String line, String sentence) {
    String[] words = line.replace("RUN", run.toString()).split(" ");
    assertThat(moe("", words)).isEqualTo(2);
    assertThat(text(err)).startsWith("moe: " + sentence).hasLineCount(1);
    assertThat(text(out)).isEmpty();
  }

  @Test
  @DisplayName("damaged weights are named: an older checkpoint writes, or none does")
  void namesDamagedWeights() throws IOException {
    Path copy = folder.resolve("run");
    FileUtils.copyDirectory(run.toFile(), copy.toFile());
    damage(copy.resolve(NEWEST));
    String[] words = {"generate", "--checkpoint=" + copy, "--prompt=User: red", "--max-tokens=4"};
    assertThat(moe("", words)).as(text(err)).isZero();
    assertThat(text(err))
        .contains("note: " + copy.resolve(NEWEST) + "/model/replicated.safetensors is damaged")
        .contains("an older checkpoint is used");

    damage(copy.resolve(OLDER));
    for (String command : List.of("generate", "chat")) {
      words[0] = command;
      String[] ofCommand = command.equals("chat") ? new String[] {words[0], words[1]} : words;
      err.reset();
      out.reset();
      assertThat(moe("red\n", ofCommand)).isEqualTo(2);
      assertThat(text(err))
          .startsWith("moe: " + copy.resolve(NEWEST) + "/model/replicated.safetensors is damaged")
          .hasLineCount(1);
      assertThat(text(out)).isEmpty();
    }
  }

  private static void damage(Path checkpoint) throws IOException {
    Path file = checkpoint.resolve("model/replicated.safetensors");
    byte[] bytes = Files.readAllBytes(file);
    bytes[bytes.length / 2] ^= 1;
    Files.write(file, bytes);
  }

  @Test
  @DisplayName("a training stopped before its summary ends when it is typed again")
  void endsAStoppedTraining() throws IOException {
    Path copy = folder.resolve("run");
    FileUtils.copyDirectory(run.toFile(), copy.toFile());
    JsonNode unbroken = JSON.readTree(copy.resolve("summary.json").toFile());
    Files.delete(copy.resolve("summary.json"));
    FileUtils.deleteDirectory(copy.resolve("plots").toFile());

    assertThat(train(copy)).as(text(err)).isZero();

    JsonNode ended = JSON.readTree(copy.resolve("summary.json").toFile());
    assertThat(ended.path("resumedFromStep").asInt()).isEqualTo(STEPS);
    for (String field :
        List.of("steps", "tokens", "weightsSha256", "validationLoss", "validationBitsPerByte")) {
      assertThat(ended.path(field)).as(field).isEqualTo(unbroken.path(field));
    }
    assertThat(ended.path("tokensPerSecond").asDouble()).isPositive();
    try (Stream<String> lines = Files.lines(copy.resolve("metrics.jsonl"))) {
      assertThat(lines).hasSize(STEPS);
    }
    assertThat(text(err)).contains("no step is left: evaluating and ending the run");

    err.reset();
    assertThat(train(copy)).isEqualTo(2);
    assertThat(text(err)).contains("holds a run that has finished its 120 steps");
  }

  @Test
  @DisplayName("--resume takes a checkpoint of --out however it is written, and no other run's")
  void resumesOnlyFromItsOwnCheckpoints() throws IOException {
    Path copy = folder.resolve("run");
    FileUtils.copyDirectory(run.toFile(), copy.toFile());
    Path here = Path.of("").toAbsolutePath();
    List<String> others =
        List.of(
            run.resolve(OLDER).toString(),
            "/nonexistent/other/" + OLDER,
            OLDER,
            "nofs://host" + copy.resolve(OLDER),
            copy.resolve("step-100").toString(),
            copy.resolve("checkpoints/step-00000077").toString());
    for (String other : others) {
      err.reset();
      assertThat(train(copy, "--resume", other)).as(other).isEqualTo(2);
      assertThat(text(err).lines().toList())
          .last()
          .asString()
          .startsWith("moe: train failed: --resume " + other + " is no checkpoint of --out " + copy)
          .endsWith("with N one of [100, 120]; name one of these");
    }
    List<String> own =
        List.of(
            "step-100",
            copy.resolve(OLDER) + "/",
            copy.resolve(OLDER).toUri().toString(),
            here.relativize(copy.resolve(OLDER)).toString());
    for (String name : own) {
      assertThat(train(copy, "--resume", name)).as(name + text(err)).isZero();
      assertThat(
              JSON.readTree(copy.resolve("summary.json").toFile()).path("resumedFromStep").asInt())
          .as(name)
          .isEqualTo(100);
    }
  }

  private String text(ByteArrayOutputStream printed) {
    return printed.toString(StandardCharsets.UTF_8);
  }

  private int moe(String typed, String... words) {
    PrintStream toOut = new PrintStream(out, true, StandardCharsets.UTF_8);
    PrintStream toErr = new PrintStream(err, true, StandardCharsets.UTF_8);
    ByteArrayInputStream in = new ByteArrayInputStream(typed.getBytes(StandardCharsets.UTF_8));
    return Main.run(words, new SparkJobs(in, toOut, toErr), toOut, toErr);
  }
}
