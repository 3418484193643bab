package io.sparkmoe.spark.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import io.sparkmoe.data.ByteTokenizer;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.distill.DistillationInfo;
import io.sparkmoe.distill.GivenText;
import io.sparkmoe.distill.SamplingSettings;
import io.sparkmoe.distill.TeacherFailure;
import io.sparkmoe.distill.TeacherIdentity;
import io.sparkmoe.distill.TeacherModel;
import io.sparkmoe.distill.TokenScores;
import io.sparkmoe.distill.WrittenText;
import io.sparkmoe.distill.http.ScriptedEndpoint;
import io.sparkmoe.distill.http.ScriptedEndpoint.Act;
import io.sparkmoe.distill.http.ScriptedEndpoint.Script;
import io.sparkmoe.distill.quality.QualityLimits;
import io.sparkmoe.spark.data.LocalSpark;
import io.sparkmoe.spark.teach.TeachFolder;
import io.sparkmoe.tensor.OutOfArenaException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.util.Progressable;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

/** The job against a real HTTP endpoint. */
@Timeout(120)
class TeachJobTest {

  @RegisterExtension static final LocalSpark SPARK = new LocalSpark();

  @TempDir Path folder;

  private Path out;
  private final ByteArrayOutputStream printed = new ByteArrayOutputStream();

  @BeforeEach
  void nameFolder() {
    out = folder.resolve("out");
  }

  private Path prompts(int count) throws IOException {
    return Files.writeString(
        folder.resolve("prompts.txt"),
        IntStream.range(0, count)
            .mapToObj(i -> "prompt number " + i)
            .collect(Collectors.joining("\n")));
  }

  private TeachOptions options(Path prompts, String teacher, int topK, QualityLimits quality) {
    return new TeachOptions(
        new TeachOptions.Prompts(List.of(prompts.toString()), null, false, 0),
        teacher,
        new TeachOptions.Host("echo", false, null, 4, 0, 20, 3, 0, 0, 0, 0),
        "byte",
        new SamplingSettings(64, 1, 1, topK, 1),
        1,
        quality,
        false,
        null,
        out.toString());
  }

  private static QualityLimits keepAll() {
    return new QualityLimits(List.of(), 0, 0, 1, List.of(), false);
  }

  private DistillationInfo teach(TeachOptions options) throws Exception {
    return teach(SPARK.session(), options);
  }

  private DistillationInfo teach(SparkSession session, TeachOptions options) throws Exception {
    PrintStream stream = new PrintStream(printed, true, StandardCharsets.UTF_8);
    return new TeachJob(options, stream, stream)
        .run(session, Teachers.of(options, new Configuration()));
  }

  private Dataset<Row> rows() {
    return SPARK.session().read().parquet(out.resolve("data").toString());
  }

  private static Set<String> asked(ScriptedEndpoint endpoint) {
    return endpoint.bodies().stream()
        .map(body -> body.path("messages").path(0).path("content").asText())
        .collect(Collectors.toSet());
  }

  @Test
  void ofTwoJobsInOneFolderTheLaterOneWritesItsRows() throws Exception {
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer());
        TeachFolder earlier = TeachFolder.open(out.toString(), new Configuration())) {
      TeachOptions options = options(prompts(3), endpoint.address(), 0, keepAll());
      earlier.begin(Teachers.of(options, new Configuration()), options.sampling());
      DistillationInfo info = teach(options);
      assertThatThrownBy(() -> earlier.write(rows().limit(1), null, info))
          .isInstanceOf(IOException.class)
          .hasMessageStartingWith(
              "another run took this one's folder: " + out + " was taken by process ");
      assertThat(rows().count()).isEqualTo(3);
      assertThat(out.resolve("distillation.json")).exists();
    }
  }

  @Test
  void answersBecomeRowsThatSqlReadsAndASecondRunAsksNothing() throws Exception {
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer())) {
      TeachOptions options = options(prompts(12), endpoint.address(), 2, keepAll());
      DistillationInfo info = teach(options);

      assertThat(info.rows()).isEqualTo(12);
      rows().createOrReplaceTempView("taught");
      List<Row> sums =
          SPARK
              .session()
              .sql(
                  "select count(distinct id), min(size(topk_ids)), min(size(topk_logprobs[0])),"
                      + " min(messages[1].role), max(finish_reason), count(distinct seed)"
                      + " from taught where completion = reverse(prompt)")
              .collectAsList();
      assertThat(sums.get(0)).isEqualTo(RowFactory.create(12L, 15, 2, "assistant", "stop", 12L));
      JsonNode json =
          ScriptedEndpoint.JSON.readTree(
              Files.readString(out.resolve("distillation.json"), StandardCharsets.UTF_8));
      assertThat(json.path("formatVersion").asInt()).isEqualTo(1);
      assertThat(json.path("teacher").asText()).isEqualTo("echo");
      assertThat(json.path("rows").asInt()).isEqualTo(12);
      assertThat(json.path("completionTokens").asInt()).isEqualTo(10 * 15 + 2 * 16);
      assertThat(json.path("tokenizerSha256").asText()).hasSize(64);
      assertThat(out.resolve("tokenizer.json")).exists();

      assertThat(teach(options)).isEqualTo(info);
      assertThat(endpoint.bodies()).hasSize(12);
    }
  }

  @Test
  void aRunThatIsStoppedGoesOnWithoutAskingTwice() throws Exception {
    CountDownLatch stuck = new CountDownLatch(3);
    AtomicInteger answered = new AtomicInteger();
    Act stall =
        (endpoint, exchange, body) -> {
          stuck.countDown();
          ScriptedEndpoint.silence().on(endpoint, exchange, body);
        };
    Path prompts = prompts(40);
    TeachOptions options;
    Set<String> before;
    try (ScriptedEndpoint endpoint =
        new ScriptedEndpoint(
            (p, a) -> answered.incrementAndGet() > 20 ? stall : ScriptedEndpoint.answer())) {
      options = options(prompts, endpoint.address(), 0, keepAll());
      ExecutorService other = Executors.newSingleThreadExecutor();
      Future<DistillationInfo> run = other.submit(() -> teach(options));
      assertThat(stuck.await(60, TimeUnit.SECONDS)).as("%s", run).isTrue();
      SPARK.context().cancelAllJobs();
      assertThatThrownBy(run::get).isInstanceOf(ExecutionException.class);
      other.shutdown();
      before = asked(endpoint);
    }
    assertThat(out.resolve("distillation.json")).doesNotExist();
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer())) {
      DistillationInfo info = teach(options(prompts, endpoint.address(), 0, keepAll()));

      assertThat(info.rows()).isEqualTo(40);
      assertThat(endpoint.bodies()).as("20 were answered before").hasSize(20);
      before.retainAll(asked(endpoint));
      assertThat(before).as("asked again: only what was under way").hasSizeLessThanOrEqualTo(4);
    }
  }

  @Test
  void promptsComeFromJsonLinesAndParquet() throws Exception {
    Path jsonl =
        Files.writeString(
            folder.resolve("p.jsonl"),
            """
            {"prompt": "one", "source": "a", "completion": "not asked for"}
            {"messages": [{"role": "system", "content": "s"}, {"content": "two", "role": "user"},
            """
                    .strip()
                + " {\"role\": \"assistant\", \"content\": \"known\"}]}\n{\"prompt\": \" \"}\n");
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer())) {
      teach(options(jsonl, endpoint.address(), 0, keepAll()));

      assertThat(rows().orderBy("answer").select("source", "prompt", "answer").collectAsList())
          .extracting(Row::toString)
          .containsExactly("[a,one,eno]", "[,null,owt]");
      String parquet = folder.resolve("p.parquet").toString();
      SPARK
          .session()
          .sql("select array(named_struct('content', 'three', 'role', 'user')) as messages")
          .write()
          .parquet(parquet);
      out = folder.resolve("out2");
      teach(options(Path.of(parquet), endpoint.address(), 0, keepAll()));

      assertThat(rows().first().<String>getAs("answer")).isEqualTo("eerht");
    }
  }

  @Test
  void answersThatAreNotGoodAreLeftOutAndCounted() throws Exception {
    String loop = "again and again and ".repeat(20);
    String fact = "the quick brown fox jumps over the lazy dog near the river";
    Map<String, String> replies =
        Map.of(
            "fine", "{\"content\": \"This is a good answer in the English language.\"}, 'stop'",
            "cut", "{\"content\": \"This is a good answer\"}, 'length'",
            "short", "{\"content\": \"no\"}, 'stop'",
            "loop", "{\"content\": \"" + loop + "\"}, 'stop'",
            "deutsch", "{\"content\": \"Das ist eine gute Antwort auf die Frage.\"}, 'stop'",
            "leak", "{\"content\": \"As we know, " + fact + ".\"}, 'stop'");
    Path prompts = Files.writeString(folder.resolve("p.txt"), String.join("\n", replies.keySet()));
    Path evaluation = Files.writeString(folder.resolve("eval.txt"), "Q: " + fact.toUpperCase());
    Script script =
        (p, a) -> {
          String[] parts = replies.get(p).split(", '");
          return ScriptedEndpoint.text(
              "{\"choices\": [{\"message\": "
                  + parts[0]
                  + ", \"finish_reason\": \""
                  + parts[1].replace("'", "")
                  + "\"}]}");
        };
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint(script)) {
      QualityLimits limits = new QualityLimits(List.of("stop"), 3, 0, 0.5, List.of("en"), true);
      TeachOptions base = options(prompts, endpoint.address(), 0, limits);
      DistillationInfo info = teach(with(base, 2, evaluation));

      assertThat(info.dropped())
          .isEqualTo(
              Map.of(
                  "finish reason", 2L,
                  "length", 2L,
                  "repetition", 2L,
                  "language", 2L,
                  "contamination", 2L,
                  "duplicate", 1L));
      assertThat(rows().collectAsList()).hasSize(1);
      assertThat(printed.toString(StandardCharsets.UTF_8))
          .contains("answers                 12")
          .contains("- duplicate              1")
          .contains("rows                     1");
    }
  }

  @Test
  void contaminationIsFoundBehindTheEscapesOfJson() throws Exception {
    Path prompts =
        Files.writeString(
            folder.resolve("p.jsonl"),
            """
            {"prompt": "le café où l'été finit est fermé depuis hier soir"}
            {"messages": [{"role": "user", "content": "one\\ntwo \\"three\\" four\\nfive six seven eight"}]}
            {"prompt": "something else that nobody evaluates with, as far as is known"}
            """);
    Path evaluation =
        Files.writeString(
            folder.resolve("eval.jsonl"),
            """
            {"id": 1, "q": {"text": ["Le caf\\u00e9 o\\u00f9 l'\\u00e9t\\u00e9\\nfinit est ferm\\u00e9 depuis hier soir"]}}
            {"id": 2, "q": {"text": ["One two\\nthree four five\\tsix seven eight"]}}
            """);
    Path table = folder.resolve("eval.parquet");
    SPARK.session().read().json(evaluation.toString()).write().parquet(table.toString());
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer())) {
      TeachOptions base = options(prompts, endpoint.address(), 0, keepAll());
      for (Path set : List.of(evaluation, table)) {
        DistillationInfo info = teach(with(base, base.samples(), set));

        assertThat(info.dropped()).containsEntry("contamination", 2L);
        assertThat(rows().first().<String>getAs("prompt")).startsWith("something else");
      }
      Files.writeString(evaluation, "{\"q\": 1");
      assertThatThrownBy(() -> teach(with(base, base.samples(), evaluation)))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("eval.jsonl, line at byte 0 is not JSON (");
    }
  }

  private static TeachOptions with(TeachOptions base, int samples, Path evaluation) {
    return new TeachOptions(
        base.prompts(),
        base.teacher(),
        base.host(),
        base.tokenizer(),
        base.sampling(),
        samples,
        base.quality(),
        base.defaultFinishReasons(),
        evaluation == null ? null : evaluation.toString(),
        base.out());
  }

  @Test
  void promptsOfOddNamesAreReadAndSecondObjectsOfALineRefused() throws Exception {
    out = folder.resolve("out[1]{2}");
    Path odd = Files.writeString(folder.resolve("p,[1]{2}.jsonl"), "\uFEFF{\"prompt\": \"one\"}\n");
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer())) {
      assertThat(teach(options(odd, endpoint.address(), 0, keepAll())).rows()).isEqualTo(1);
      Files.writeString(odd, "{\"prompt\": \"one\"} {\"prompt\": \"two\"}");
      assertThatThrownBy(() -> teach(options(odd, endpoint.address(), 0, keepAll())))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("{2}.jsonl, line at byte 0 goes on after its JSON value");
    }
  }

  @Test
  void answersThatDifferInASignAreNoDuplicates() throws Exception {
    List<String> answers = List.of("5", "-5", "x + 1", "X  +\\n1 ", "x = 1");
    AtomicInteger next = new AtomicInteger();
    Script script =
        (p, a) ->
            ScriptedEndpoint.text(
                "{\"choices\": [{\"message\": {\"content\": \""
                    + answers.get(next.getAndIncrement())
                    + "\"}}]}");
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint(script)) {
      QualityLimits limits = new QualityLimits(List.of(), 1, 0, 1, List.of(), true);
      TeachOptions base = options(prompts(1), endpoint.address(), 0, limits);
      DistillationInfo info = teach(with(base, answers.size(), null));

      assertThat(info.dropped()).containsEntry("duplicate", 1L);
      assertThat(rows().select("answer").as(Encoders.STRING()).collectAsList())
          .contains("5", "-5", "x = 1")
          .hasSize(4);
    }
  }

  @Test
  void aNetworkOfKerasJudgesAWholeTextInWindows() throws Exception {
    Path h5 = folder.resolve("characters.h5");
    try (InputStream in =
        ScriptedEndpoint.class.getResourceAsStream("/io/sparkmoe/distill/characters.h5")) {
      Files.copy(in, h5);
    }
    Path characters = Files.writeString(folder.resolve("characters.txt"), "abcde");
    Path text =
        Files.writeString(folder.resolve("te,xt[1]{2}.txt"), "\uFEFF" + "abacadaeabc".repeat(4));
    TeachOptions base = options(text, "dl4j:" + h5, 3, keepAll());
    TeachOptions options =
        new TeachOptions(
            new TeachOptions.Prompts(List.of(text.toString()), null, true, 10),
            base.teacher(),
            base.host(),
            characters.toString(),
            base.sampling(),
            1,
            keepAll(),
            true,
            null,
            base.out());
    DistillationInfo info = teach(options);

    assertThat(info.teacher()).isEqualTo("dl4j:characters.h5");
    assertThat(info.rowTokens()).as("every character but the first").isEqualTo(43);
    assertThat(rows().select("finish_reason").distinct().as(Encoders.STRING()).collectAsList())
        .containsExactly("forced");
    Row sums =
        rows()
            .selectExpr("explode(arrays_zip(topk_logprobs, tail_logmass)) as token")
            .selectExpr(
                "abs(aggregate(token.topk_logprobs, exp(cast(token.tail_logmass as double)),"
                    + " (sum, p) -> sum + exp(cast(p as double))) - 1) as error")
            .selectExpr("count(*)", "max(error)")
            .first();
    assertThat(sums.getLong(0)).isEqualTo(43);
    assertThat(sums.getDouble(1)).isLessThan(1e-5);

    Path talk = folder.resolve("talk.jsonl");
    Files.writeString(talk, "{\"messages\": [{\"role\": \"user\", \"content\": \"abc\"}]}");
    TeachOptions talking = options(talk, "dl4j:" + h5, 3, keepAll());
    assertThatThrownBy(() -> teach(withTokenizer(talking, characters.toString())))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(
            "dl4j:characters.h5 is a model of plain text, without a chat template: got messages,"
                + " expected a column prompt with text; write the conversation as the text");
    assertThatThrownBy(() -> Teachers.of(options("dl4j:" + h5, null), new Configuration()))
        .hasMessageContaining("has no tokenizer of its own");
    assertThatThrownBy(() -> Teachers.of(options("dl4j:" + h5 + "x", "byte"), new Configuration()))
        .hasMessageContaining("no such teacher: ");
    assertThatThrownBy(
            () -> Teachers.of(options("checkpoint:" + folder, null), new Configuration()))
        .hasMessageContaining("no model: " + folder + " holds none");
    assertThatThrownBy(() -> Teachers.of(options("oracle", null), new Configuration()))
        .hasMessageStartingWith("unknown teacher: got oracle, expected http(s)://HOST");
  }

  private TeachOptions options(String teacher, String tokenizer) {
    return withTokenizer(options(folder.resolve("p.txt"), teacher, 0, keepAll()), tokenizer);
  }

  private static TeachOptions withTokenizer(TeachOptions base, String tokenizer) {
    return new TeachOptions(
        base.prompts(),
        base.teacher(),
        base.host(),
        tokenizer,
        base.sampling(),
        1,
        base.quality(),
        true,
        null,
        base.out());
  }

  @Test
  void aWrongKeyWritesNothing() throws Exception {
    try (ScriptedEndpoint endpoint =
        new ScriptedEndpoint((p, a) -> ScriptedEndpoint.status(401, "no"))) {
      assertThatThrownBy(() -> teach(options(prompts(5), endpoint.address(), 0, keepAll())))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("refuses the key: got HTTP status 401");
      assertThat(endpoint.bodies()).hasSize(1);
      assertThat(out).doesNotExist();
    }
  }

  @Test
  void repliesThatCannotBeReadAreNoAnswers() throws Exception {
    try (ScriptedEndpoint endpoint =
        new ScriptedEndpoint(
            (p, a) -> ScriptedEndpoint.text("{\"error\": {\"message\": \"upstream\"}}"))) {
      assertThatThrownBy(() -> teach(once(options(prompts(2), endpoint.address(), 0, keepAll()))))
          .isInstanceOf(IllegalStateException.class)
          .hasMessage(
              "no request was answered: 2 of 2 failed (malformed reply: it reports upstream, after"
                  + " 1 tries), expected answers; correct prompts or teacher and run again");
      assertThat(out.resolve("answers")).as("they may have been charged for").isNotEmptyDirectory();
      assertThat(endpoint.bodies()).as("each once").hasSize(2);
    }
  }

  /** The same with one try of each request. */
  private static TeachOptions once(TeachOptions base) {
    return new TeachOptions(
        base.prompts(),
        base.teacher(),
        new TeachOptions.Host("echo", false, null, 4, 0, 20, 1, 0, 0, 0, 0),
        base.tokenizer(),
        base.sampling(),
        base.samples(),
        base.quality(),
        base.defaultFinishReasons(),
        base.evaluation(),
        base.out());
  }

  @Test
  void otherSettingsDoNotMixWithAnEarlierRunsAnswers() throws Exception {
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer())) {
      teach(options(prompts(2), endpoint.address(), 0, keepAll()));

      assertThatThrownBy(() -> teach(options(prompts(2), endpoint.address(), 3, keepAll())))
          .hasMessageContaining("holds answers that were asked for as {\"teacher\":\"echo\"")
          .hasMessageContaining("\"topK\":3")
          .hasMessageEndingWith("repeat the options or give another folder");
    }
  }

  @Test
  void answersOfOneFormOfRequestAreNotTakenForThoseOfTheOther() throws Exception {
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer())) {
      Path prompts = prompts(2);
      TeachOptions chat = options(prompts, endpoint.address(), 0, keepAll());
      TeachOptions completions =
          options(prompts, endpoint.address() + "/v1/completions", 0, keepAll());
      teach(chat);

      assertThatThrownBy(() -> teach(completions))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("holds answers that were asked for as {\"teacher\":\"echo\"")
          .hasMessageContaining("\"form\":\"completions\"");
      Path settings = out.resolve("teach.json");
      String written = Files.readString(settings);
      Files.writeString(settings, written.replace(",\"form\":\"chat\"", ""));
      teach(completions);
      assertThat(endpoint.bodies()).as("asked by an earlier version").hasSize(2);
    }
  }

  @Test
  void aSpentBudgetLeavesADatasetOfWhatIsThere() throws Exception {
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer())) {
      TeachOptions base = options(prompts(30), endpoint.address(), 0, keepAll());
      TeachOptions.Host poor =
          new TeachOptions.Host("echo", false, null, 1, 0, 20, 3, 600, 0, 0, 0);
      assertThatThrownBy(
              () ->
                  teach(
                      new TeachOptions(
                          base.prompts(),
                          base.teacher(),
                          poor,
                          null,
                          base.sampling(),
                          1,
                          keepAll(),
                          false,
                          null,
                          base.out())))
          .isInstanceOf(TeacherFailure.class)
          .hasMessageContaining("the budget is spent");
      assertThat(rows().count()).isBetween(2L, 29L);
      assertThat(out.resolve("distillation.json")).exists();
    }
  }

  /** This machine's files, with room for so many files below a folder. */
  public static final class FullFileSystem extends RawLocalFileSystem {
    private static final AtomicInteger ROOM = new AtomicInteger();
    private static final AtomicReference<String> BELOW = new AtomicReference<>();

    static void set(String below, int room) {
      BELOW.set(below);
      ROOM.set(room);
    }

    @Override
    public URI getUri() {
      return URI.create("full:///");
    }

    @Override
    public FSDataOutputStream create(
        org.apache.hadoop.fs.Path file,
        boolean overwrite,
        int bufferSize,
        short replication,
        long blockSize,
        Progressable progress)
        throws IOException {
      if (file.toString().contains(BELOW.get()) && ROOM.decrementAndGet() < 0) {
        throw new IOException("No space left on device\n\tat some.other.Machine");
      }
      return super.create(file, overwrite, bufferSize, replication, blockSize, progress);
    }
  }

  @Test
  void aFullDiskStopsTheRunWithADatasetOfWhatIsThere() throws Exception {
    SPARK
        .context()
        .hadoopConfiguration()
        .setClass("fs.full.impl", FullFileSystem.class, FileSystem.class);
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer())) {
      TeachOptions options =
          to("full://" + out, options(prompts(30), endpoint.address(), 0, keepAll()));
      String sentence =
          "asking was stopped: got java.io.IOException: No space left on device, expected a teacher"
              + " that answers and room for its answers in full:"
              + out
              + "/answers; mend that and run the same command again";
      FullFileSystem.set("/answers/", 0);
      assertThatThrownBy(() -> teach(options))
          .as("the first request, asked from here")
          .isInstanceOf(TeacherFailure.class)
          .hasMessage(sentence);
      FullFileSystem.set("/answers/", 10);
      assertThatThrownBy(() -> teach(options))
          .isInstanceOf(TeacherFailure.class)
          .hasMessage(sentence);
      assertThat(rows().count()).isBetween(10L, 29L);
      assertThat(out.resolve("distillation.json")).exists();
      FullFileSystem.set("", 3);
      assertThatThrownBy(() -> teach(options))
          .as("no dataset can be written either")
          .isInstanceOf(TeacherFailure.class)
          .hasMessage(sentence)
          .satisfies(stop -> assertThat(stop.getSuppressed()).hasSize(1));
      FullFileSystem.set("", 1000);
      assertThat(teach(options).rows()).isEqualTo(30);
    }
  }

  private static TeachOptions to(String out, TeachOptions base) {
    return new TeachOptions(
        base.prompts(),
        base.teacher(),
        base.host(),
        base.tokenizer(),
        base.sampling(),
        base.samples(),
        base.quality(),
        base.defaultFinishReasons(),
        base.evaluation(),
        out);
  }

  @Test
  void aRefusedTeacherShowsNoKey() {
    for (String teacher :
        List.of("https://u:SECRET@h", "HTTPS://h?key=SECRET", "ws://SECRET@h", "u:SECRET@h")) {
      assertThatThrownBy(() -> Teachers.of(options(teacher, null), new Configuration()))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageStartingWith("teacher address is ")
          .hasMessageNotContaining("SECRET");
    }
  }

  @Test
  void aRequestWithoutAnAnswerIsNamedAndTheOthersAreKept() throws Exception {
    try (ScriptedEndpoint endpoint =
        new ScriptedEndpoint(
            (p, a) ->
                p.endsWith("3")
                    ? ScriptedEndpoint.status(400, "context too long")
                    : ScriptedEndpoint.answer())) {
      DistillationInfo info = teach(options(prompts(5), endpoint.address(), 0, keepAll()));

      assertThat(info.rows()).isEqualTo(4);
      assertThat(info.failed()).isEqualTo(1);
      assertThat(printed.toString(StandardCharsets.UTF_8))
          .contains("moe: 1 of 5 requests have no answer: HTTP status 400 (context too long);");
    }
  }

  @Test
  void moreAlternativesThanTheModelHasTokensAreRefused() {
    TeacherIdentity identity = new TeacherIdentity("checkpoint:x", null, "sha", 257);
    assertThatThrownBy(
            () ->
                new ModelTeacherSpec(
                    identity,
                    "{}",
                    new SamplingSettings(64, 1, 1, 1000, 1),
                    (sampling, own, threads) -> new Damaged(new IllegalStateException()),
                    0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "wrong --top-k: got 1000, expected at most the 257 tokens of checkpoint:x; correct it");
  }

  /**
   * A model that cannot be used.
   *
   * @param failure what it throws
   */
  private record Damaged(RuntimeException failure) implements TeacherModel {
    @Override
    public int contextLength() {
      return 1000;
    }

    @Override
    public List<TokenScores> score(List<GivenText> texts) {
      throw failure;
    }

    @Override
    public List<WrittenText> write(List<GivenText> prompts) {
      throw failure;
    }

    @Override
    public void close() {}
  }

  @Test
  void whatIsWrongWithAModelIsToldAsItsTaskSaysIt() throws Exception {
    String damaged = "the weights are damaged; take another checkpoint";
    assertThatThrownBy(() -> teachDamaged(new IllegalArgumentException(damaged)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(damaged);
  }

  @Test
  void aTaskThatFailsStopsTheRunWithItsReason() {
    assertThatThrownBy(() -> teachDamaged(new OutOfArenaException("arena is full")))
        .isInstanceOf(TeacherFailure.class)
        .hasMessageStartingWith("asking was stopped: got ")
        .hasMessageContaining(
            "OutOfArenaException: arena is full, expected a teacher that answers");
  }

  private void teachDamaged(RuntimeException failure) throws Exception {
    TeachOptions options = options(prompts(3), "checkpoint:x", 0, keepAll());
    Tokenizer tokenizer = new ByteTokenizer();
    ModelTeacherSpec spec =
        new ModelTeacherSpec(
            new TeacherIdentity("checkpoint:x", null, tokenizer.sha256(), tokenizer.vocabSize()),
            tokenizer.toJson(),
            options.sampling(),
            (sampling, own, threads) -> new Damaged(failure),
            0);
    new TeachJob(options, System.out, System.err).run(SPARK.session(), spec);
  }

  @Test
  void aFirstRequestThatFailsIsAskedAndCountedOnce() throws Exception {
    AtomicInteger asked = new AtomicInteger();
    try (ScriptedEndpoint endpoint =
        new ScriptedEndpoint(
            (p, a) ->
                asked.incrementAndGet() == 1
                    ? ScriptedEndpoint.status(500, "oops")
                    : ScriptedEndpoint.answer())) {
      DistillationInfo info = teach(once(options(prompts(5), endpoint.address(), 0, keepAll())));

      assertThat(endpoint.bodies()).hasSize(5);
      assertThat(info.rows()).isEqualTo(4);
      assertThat(info.failed()).isEqualTo(1);
    }
  }

  @Test
  void noPromptsAreRefused() throws Exception {
    Path blank = Files.writeString(folder.resolve("blank.txt"), " \n\n");
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer())) {
      assertThatThrownBy(() -> teach(options(blank, endpoint.address(), 0, keepAll())))
          .hasMessage(
              "there are no prompts: got only blank ones, expected at least one; correct"
                  + " --prompts");
      Path other = Files.writeString(folder.resolve("p.jsonl"), "{\"question\": \"x\"}");
      assertThatThrownBy(() -> teach(options(other, endpoint.address(), 0, keepAll())))
          .hasMessageContaining("has no prompt: it has [question], expected a column prompt");
    }
  }
}
