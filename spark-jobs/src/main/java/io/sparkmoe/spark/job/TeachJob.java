package io.sparkmoe.spark.job;

import io.sparkmoe.distill.DistillationInfo;
import io.sparkmoe.distill.TeacherFailure;
import io.sparkmoe.distill.TeacherIdentity;
import io.sparkmoe.distill.quality.NgramSet;
import io.sparkmoe.distill.quality.QualityLimits;
import io.sparkmoe.spark.cluster.ClusterDefaults;
import io.sparkmoe.spark.cluster.ClusterShape;
import io.sparkmoe.spark.cluster.MasterCheck;
import io.sparkmoe.spark.cluster.MemoryNeed;
import io.sparkmoe.spark.data.AnswerFolder;
import io.sparkmoe.spark.data.BadInputException;
import io.sparkmoe.spark.data.DocumentFormat;
import io.sparkmoe.spark.data.HadoopSettings;
import io.sparkmoe.spark.data.PromptReader;
import io.sparkmoe.spark.teach.AnswerRun;
import io.sparkmoe.spark.teach.Progress;
import io.sparkmoe.spark.teach.QualityFilter;
import io.sparkmoe.spark.teach.TeachFolder;
import io.sparkmoe.spark.teach.TeacherSpec;
import io.sparkmoe.spark.teach.TextWindows;
import java.io.IOException;
import java.io.PrintStream;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;

/**
 * {@code moe teach}: prompts in, a dataset of distillation rows out. What was answered stays
 * answered: the same command goes on where an earlier one was stopped, and one that is complete
 * asks nothing.
 */
public final class TeachJob {

  /** Rows on their way, the language detector and Spark itself, for one task. */
  private static final long HEAP_BYTES = 512L << 20;

  private static final String TIMESTAMPS = "spark.sql.parquet.outputTimestampType";

  private final TeachOptions options;
  private final PrintStream out;
  private final PrintStream err;

  /**
   * @param out gets the funnel
   * @param err gets progress and what went wrong with single requests
   */
  public TeachJob(TeachOptions options, PrintStream out, PrintStream err) {
    this.options = options;
    this.out = out;
    this.err = err;
  }

  /**
   * Runs the job in a Spark session of its own.
   *
   * @throws IllegalArgumentException when teacher, prompts or folder cannot be used, in one
   *     sentence
   */
  public DistillationInfo run() throws IOException, InterruptedException {
    SparkConf conf = new SparkConf().setIfMissing("spark.app.name", "moe teach");
    MasterCheck.check(conf);
    TeacherSpec spec = spec();
    int tasks = Math.max(1, ClusterShape.of(conf).slots());
    ClusterDefaults.fillIn(conf, tasks, new MemoryNeed(HEAP_BYTES, spec.offHeapBytes(), 0));
    // A table of one row an answer is small: Spark's 200 parts would each be a task of nothing.
    conf.setIfMissing("spark.sql.shuffle.partitions", Integer.toString(2 * tasks));
    // Plans of a table with many columns are no news to whoever runs the job.
    conf.setIfMissing("spark.sql.debug.maxToStringFields", "200");
    try (SparkSession spark = SparkSession.builder().config(conf).getOrCreate()) {
      return run(spark, spec);
    }
  }

  private TeacherSpec spec() throws IOException, InterruptedException {
    try {
      Configuration hadoop = HadoopSettings.current();
      PromptReader.requireFiles(options.prompts().paths(), hadoop);
      return Teachers.of(options, hadoop);
    } catch (TeacherFailure e) {
      throw new IllegalArgumentException(e.getMessage(), e);
    }
  }

  /** Runs the job in a given session. */
  DistillationInfo run(SparkSession spark, TeacherSpec spec)
      throws IOException, InterruptedException {
    try {
      return teach(spark, spec);
    } catch (Exception e) { // Spark throws checked exceptions undeclared, around what a task threw
      Optional<BadInputException> bad = BadInputException.causeOf(e);
      if (bad.isPresent()) {
        throw bad.get();
      }
      throw e;
    }
  }

  private DistillationInfo teach(SparkSession spark, TeacherSpec spec)
      throws IOException, InterruptedException {
    NgramSet evaluation = evaluation(spark);
    JavaRDD<String> prompts = prompts(spark, spec);
    try (TeachFolder folder =
        TeachFolder.open(options.out(), spark.sparkContext().hadoopConfiguration())) {
      folder.requireGoesOn(spec, options.sampling());
      AnswerFolder answers = folder.answers();
      AnswerRun.Result result =
          new AnswerRun(
                  spark,
                  spec,
                  options.sampling(),
                  options.samples(),
                  answers,
                  folder.answersLocation(),
                  new Progress(err))
              .run(prompts, () -> folder.begin(spec, options.sampling()));
      requireAnswers(result, answers);
      TeacherFailure stop = result.stop();
      try {
        DistillationInfo info = write(spark, spec, folder, result, evaluation);
        report(result, info);
        if (stop == null) {
          return info;
        }
      } catch (Exception e) { // Spark throws checked exceptions undeclared
        if (stop == null || stop.kind() != TeacherFailure.Kind.ASKING_FAILED) {
          throw e;
        }
        stop.addSuppressed(e); // such as a full disk, which came up before
      }
      throw stop;
    }
  }

  private JavaRDD<String> prompts(SparkSession spark, TeacherSpec spec) throws IOException {
    TeachOptions.Prompts given = options.prompts();
    PromptReader reader = new PromptReader(spark);
    DocumentFormat format =
        given.format() == null ? formatOf(spark, given.paths()) : given.format();
    if (given.windowLength() == 0) {
      boolean force = given.force();
      return reader.prompts(given.paths(), format).map(line -> Askable.line(spec, line, force));
    }
    return TextWindows.of(
        reader.texts(given.paths(), format), spec.tokenizerJson(), given.windowLength());
  }

  private static DocumentFormat formatOf(SparkSession spark, List<String> paths)
      throws IOException {
    return DocumentFormat.of(paths, spark.sparkContext().hadoopConfiguration());
  }

  private NgramSet evaluation(SparkSession spark) throws IOException {
    NgramSet set = new NgramSet();
    if (options.evaluation() != null) {
      PromptReader reader = new PromptReader(spark);
      List<String> paths = List.of(options.evaluation());
      set.addAll(
          reader
              .everyText(paths, formatOf(spark, paths))
              .flatMap(text -> NgramSet.ngramsOf(text).iterator())
              .distinct()
              .collect());
      if (set.size() == 0) {
        throw new IllegalArgumentException(
            "--evaluation "
                + options.evaluation()
                + " holds no text of "
                + NgramSet.WORDS
                + " words, expected the evaluation set; correct the path");
      }
    }
    return set;
  }

  /** Without any answer there is nothing to write, and the reason is the whole story. */
  private static void requireAnswers(AnswerRun.Result result, AnswerFolder answers)
      throws IOException {
    TeacherFailure stop = result.stop();
    boolean none = answers.isEmpty();
    if (stop != null && (none || stop.kind() == TeacherFailure.Kind.WRONG_INPUT)) {
      throw stop.kind() == TeacherFailure.Kind.ASKING_FAILED
          ? stop
          : new IllegalArgumentException(stop.getMessage(), stop);
    }
    if (none) {
      throw new IllegalStateException(
          "no request was answered: "
              + result.failed()
              + " of "
              + result.requests()
              + " failed ("
              + String.join("; ", result.reasons()).replace("; ", ", ")
              + "), expected answers; correct prompts or teacher and run again");
    }
  }

  private DistillationInfo write(
      SparkSession spark,
      TeacherSpec spec,
      TeachFolder folder,
      AnswerRun.Result result,
      NgramSet evaluation)
      throws IOException {
    Dataset<Row> judged =
        new QualityFilter(spark, quality(spec), evaluation)
            .judge(folder.answers().read(spark))
            .persist();
    try {
      long answers = judged.count();
      Map<String, Long> dropped = QualityFilter.dropped(judged);
      Dataset<Row> kept = QualityFilter.kept(judged);
      Row sums =
          kept.agg(
                  functions.count("*"),
                  functions.coalesce(
                      functions.sum(
                          functions
                              .when(
                                  functions.col("completion_ids").isNotNull(),
                                  functions.size(functions.col("completion_ids")))
                              .otherwise(0)),
                      functions.lit(0L)))
              .first();
      if (sums.getLong(0) == 0) {
        throw new IllegalArgumentException(
            "no answer is kept: the filters dropped all "
                + answers
                + " ("
                + dropped
                + "), expected some to stay; loosen them or add --keep-all");
      }
      TeacherIdentity teacher = spec.identity();
      DistillationInfo info =
          new DistillationInfo(
              DistillationInfo.FORMAT_VERSION,
              teacher.name(),
              teacher.revision(),
              teacher.tokenizerSha256(),
              teacher.vocabSize(),
              options.sampling().topK(),
              result.requests(),
              answers,
              result.failed(),
              folder.answers().state().usage().promptTokens(),
              folder.answers().state().usage().completionTokens(),
              dropped,
              sums.getLong(0),
              sums.getLong(1));
      // By id, so that the rows' order hangs neither on tasks nor on who answered first.
      spark.conf().set(TIMESTAMPS, "TIMESTAMP_MICROS");
      folder.write(kept.orderBy("id"), spec.tokenizerJson(), info);
      return info;
    } finally {
      judged.unpersist();
    }
  }

  private QualityLimits quality(TeacherSpec spec) {
    QualityLimits given = options.quality();
    return options.defaultFinishReasons()
        ? new QualityLimits(
            spec.goodFinishReasons(),
            given.minCharacters(),
            given.maxCharacters(),
            given.maxRepetition(),
            given.languages(),
            given.duplicates())
        : given;
  }

  private void report(AnswerRun.Result result, DistillationInfo info) {
    if (result.failed() > 0) {
      err.printf(
          Locale.ROOT,
          "moe: %d of %d requests have no answer: %s; the same command asks them again%n",
          result.failed(),
          result.requests(),
          String.join(", ", result.reasons()));
    }
    out.printf(Locale.ROOT, "%-15s %10d%n", "prompts", info.prompts());
    out.printf(Locale.ROOT, "%-15s %10d%n", "answers", info.answers());
    info.dropped().forEach((name, count) -> out.printf(Locale.ROOT, "- %-13s %10d%n", name, count));
    out.printf(Locale.ROOT, "%-15s %10d%n", "rows", info.rows());
  }
}
