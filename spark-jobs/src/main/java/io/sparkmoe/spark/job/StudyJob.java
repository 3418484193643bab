package io.sparkmoe.spark.job;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.config.ResolvedConfig;
import io.sparkmoe.data.InMemoryRowSource;
import io.sparkmoe.data.RowOrder;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.data.Tokenizers;
import io.sparkmoe.distill.DistillationInfo;
import io.sparkmoe.distill.TeacherIdentity;
import io.sparkmoe.distill.student.CharacterText;
import io.sparkmoe.distill.student.DistillationStudy;
import io.sparkmoe.distill.student.StudyArm;
import io.sparkmoe.distill.student.StudyTable;
import io.sparkmoe.distill.student.TaughtRow;
import io.sparkmoe.io.Store;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.spark.data.DistillationFiles;
import io.sparkmoe.spark.data.HadoopSettings;
import io.sparkmoe.spark.data.HadoopStore;
import io.sparkmoe.train.CheckpointEvaluation;
import io.sparkmoe.train.CheckpointState;
import io.sparkmoe.train.CoordinatorSettings;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import io.sparkmoe.train.DataIdentity;
import io.sparkmoe.train.LocalTraining;
import io.sparkmoe.train.RankMemory;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunListener;
import io.sparkmoe.train.StepMetrics;
import io.sparkmoe.train.TeacherForcing;
import io.sparkmoe.train.WorkerSettings;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;

/**
 * {@code moe bench distill}: trains a teacher on a text, lets it read the text for its top-k, which
 * becomes distillation rows in Parquet, and trains students towards them in several ways, all in
 * this process.
 */
public final class StudyJob {

  /** Share of the text, from its end. */
  private static final double HELD_OUT = 0.1;

  private static final int PROGRESS_EVERY = 100;

  /** Folder of the teacher's checkpoint in the study's; an interrupted study goes on from it. */
  private static final String TEACHER = "teacher";

  /** Folder of the distillation rows; {@code moe distill} takes it too. */
  private static final String TAUGHT = "taught";

  private static final String TABLE = "table.txt";
  private static final String REPORT = "study.json";

  private static final ObjectMapper JSON = new ObjectMapper();

  private final StudyOptions options;
  private final PrintStream out;
  private final PrintStream err;
  private final Configuration hadoop = HadoopSettings.current();

  public StudyJob(StudyOptions options, PrintStream out, PrintStream err) {
    this.options = options;
    this.out = out;
    this.err = err;
  }

  /** Prints the table, and one JSON object on its last line. */
  public void run() throws IOException, InterruptedException {
    long start = System.nanoTime();
    int seqLen = options.teacher().value("train.seq_len").orElseThrow().value().intValue();
    CharacterText text = CharacterText.of(read(options.text()), HELD_OUT, seqLen);
    RunConfig teacher = config(options.teacher(), text);
    RunConfig student = config(options.student().apply(1), text);
    if (student.train().seqLen() != seqLen) {
      throw new IllegalArgumentException(
          "students read train.seq_len="
              + student.train().seqLen()
              + ", their teacher "
              + seqLen
              + ", expected the same; set one of them");
    }
    int threads =
        options.threads() > 0 ? options.threads() : Runtime.getRuntime().availableProcessors();
    try (Store folder = HadoopStore.open(options.out(), hadoop);
        Store ofTeacher = HadoopStore.open(options.out() + "/" + TEACHER, hadoop);
        Store ofRows = HadoopStore.open(options.out() + "/" + TAUGHT, hadoop)) {
      requireNoOther(folder);
      double teacherNats = teacherNats(teacher, text, ofTeacher, threads);
      err.printf(Locale.ROOT, "teacher: %.4f nats on held-out text%n", teacherNats);
      Taught taught = teach(ofTeacher, ofRows, text, threads, teacher);
      err.printf(
          Locale.ROOT,
          "teacher: has read %d rows, %.0f s so far%n",
          text.train().size(),
          (System.nanoTime() - start) * 1e-9);
      DistillationStudy study =
          new DistillationStudy(
              seed -> config(options.student().apply(seed), text),
              taught.stored(),
              taught.whole(),
              text.validation());
      StudyTable table =
          new StudyTable(
              teacherNats,
              study.run(
                  DistillationStudy.ARMS,
                  options.seeds(),
                  threads,
                  (arm, seed, nats) ->
                      err.printf(
                          Locale.ROOT, "%s, seed %d: %.4f nats%n", arm.label(), seed, nats)));
      double wallSeconds = (System.nanoTime() - start) * 1e-9;
      ObjectNode report = report(table, teacher, student, wallSeconds);
      folder.writeText(TABLE, table.render());
      folder.writeText(REPORT, report.toPrettyString() + "\n");
      out.print(table.render());
      out.println(JSON.writeValueAsString(report));
    }
  }

  private static RunConfig config(ResolvedConfig resolved, CharacterText text) {
    return resolved.withTokenizer(text.vocabSize(), "the text").toRunConfig().forLocalEngine();
  }

  private String read(String location) throws IOException {
    Path path = new Path(location);
    try (InputStream in = path.getFileSystem(hadoop).open(path)) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (FileNotFoundException e) {
      throw new IllegalArgumentException(
          "--text " + location + " is no such file, expected a text; correct the path", e);
    }
  }

  private void requireNoOther(Store folder) throws IOException {
    List<String> present =
        folder.list("").stream().filter(name -> !List.of(TEACHER, TAUGHT).contains(name)).toList();
    if (!present.isEmpty()) {
      throw new IllegalArgumentException(
          "--out "
              + options.out()
              + " holds "
              + present.get(0)
              + ", expected a new folder or that of an interrupted study; name another one");
    }
  }

  /** Held-out loss of the teacher, which is trained unless its checkpoint is there. */
  private double teacherNats(RunConfig config, CharacterText text, Store folder, int threads)
      throws IOException {
    CheckpointStore checkpoints = new CheckpointStore(folder);
    if (!checkpoints.committedSteps().contains(config.train().steps())) {
      return trainTeacher(config, text, folder, threads);
    }
    try (CheckpointReader checkpoint = checkpoints.open(config.train().steps())) {
      checkpoint.requireModel(config.model());
      CheckpointState.requireTokenizer(checkpoint, text.tokenizerSha256());
      return CheckpointEvaluation.of(
              checkpoint,
              text.validation(),
              config.train().seqLen(),
              threads,
              config.train().batchSequences())
          .meanLoss();
    }
  }

  /** Leaves a checkpoint in the folder and gives the held-out loss. */
  private double trainTeacher(RunConfig config, CharacterText text, Store folder, int threads)
      throws IOException {
    RowOrder order =
        new RowOrder(text.train().size(), config.train().batchSequences(), config.train().seed());
    RunListener progress =
        new RunListener() {
          @Override
          public void onStep(StepMetrics metrics) {
            if (metrics.step() % PROGRESS_EVERY == 0) {
              err.printf(
                  Locale.ROOT,
                  "teacher, step %d: %.4f nats, %.0f tokens/s%n",
                  metrics.step(),
                  metrics.mainLoss(),
                  metrics.tokensPerSecond());
            }
          }
        };
    return LocalTraining.run(
            config,
            1,
            rank ->
                new WorkerSettings(
                    new InMemoryRowSource(text.train(), order, rank, 1),
                    text.validation(),
                    folder,
                    threads,
                    RankMemory.ofRank(config, 1).limitBytes()),
            new CoordinatorSettings(
                folder,
                Resume.never(),
                new DataIdentity(text.tokenizerSha256(), null),
                text.validation().size(),
                1,
                RankMemory.ofDriver(config, 1).limitBytes()),
            progress)
        .evaluation()
        .meanLoss();
  }

  /**
   * Training rows with what the teacher says about them.
   *
   * @param stored its top-k, as Parquet gave it back
   * @param whole all of its vocabulary, which no dataset stores: the ceiling of what is stored
   */
  private record Taught(List<TokenRow> stored, List<TokenRow> whole) {}

  private Taught teach(
      Store folder, Store ofRows, CharacterText text, int threads, RunConfig teacher)
      throws IOException {
    List<List<TokenRow>> read;
    TeacherIdentity identity;
    try (CheckpointReader checkpoint = new CheckpointStore(folder).open(teacher.train().steps())) {
      identity =
          new TeacherIdentity(
              checkpoint.location(),
              checkpoint.manifest().weightsSha256(),
              text.tokenizerSha256(),
              text.vocabSize());
      int[] topKs = {options.topK(), text.vocabSize()};
      read =
          TeacherForcing.teach(checkpoint, text.train(), teacher.train().seqLen(), topKs, threads);
    }
    writeRows(ofRows, text, read.get(0), identity);
    List<TokenRow> stored = new ArrayList<>();
    DistillationFiles.read(
        ofRows,
        hadoop,
        row -> stored.add(TaughtRow.withTeacher(text.train().get(stored.size()), row)));
    return new Taught(stored, read.get(1));
  }

  private void writeRows(
      Store ofRows, CharacterText text, List<TokenRow> rows, TeacherIdentity teacher)
      throws IOException {
    long numTokens = rows.stream().mapToLong(row -> row.numTokens() - 1).sum();
    DistillationInfo info =
        new DistillationInfo(
            DistillationInfo.FORMAT_VERSION,
            teacher.name(),
            teacher.revision(),
            teacher.tokenizerSha256(),
            teacher.vocabSize(),
            options.topK(),
            rows.size(),
            rows.size(),
            0,
            rows.size() + numTokens,
            0,
            Map.of(),
            rows.size(),
            numTokens);
    Instant now = Instant.now().truncatedTo(ChronoUnit.MILLIS);
    try (Tokenizer tokenizer = Tokenizers.fromJson(text.tokenizerJson())) {
      DistillationFiles.write(
          ofRows,
          rows.stream()
              .map(row -> TaughtRow.toDistillationRow(row, tokenizer, teacher, now))
              .iterator(),
          text.tokenizerJson(),
          info);
    }
  }

  private ObjectNode report(
      StudyTable table, RunConfig teacher, RunConfig student, double wallSeconds) {
    ObjectNode report = JSON.createObjectNode();
    report.put("teacherParameters", parameters(teacher));
    report.put("studentParameters", parameters(student));
    report.put("teacherNats", table.teacherNats());
    report.put("topK", options.topK());
    report.put("seeds", options.seeds());
    report.put("steps", student.train().steps());
    report.put("batchSequences", student.train().batchSequences());
    report.put("seqLen", student.train().seqLen());
    ArrayNode arms = report.putArray("arms");
    for (StudyArm arm : table.losses().keySet()) {
      ObjectNode one = arms.addObject();
      one.put("loss", arm.loss().name().toLowerCase(Locale.ROOT));
      one.put("textShare", arm.textShare());
      one.put("nats", table.mean(arm));
      one.put("spread", table.spread(arm));
      one.put("bitsPerCharacter", StudyTable.bits(table.mean(arm)));
      one.put("gainNats", table.gain(arm));
      double share = table.shareOfFullGain(arm);
      if (Double.isFinite(share)) {
        one.put("shareOfFullGain", share);
      }
    }
    report.put("wallSeconds", wallSeconds);
    return report;
  }

  private static long parameters(RunConfig config) {
    return Parameters.numElements(config.model(), EnumSet.allOf(Part.class));
  }
}
