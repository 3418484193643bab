package io.sparkmoe.spark.job;

import io.sparkmoe.io.Store;
import io.sparkmoe.report.RunReport.Line;
import io.sparkmoe.spark.data.DocumentFormat;
import io.sparkmoe.spark.data.EuroparlCorpus;
import io.sparkmoe.spark.data.HadoopSettings;
import io.sparkmoe.spark.data.HadoopStore;
import io.sparkmoe.spark.data.SourceRule;
import io.sparkmoe.spark.data.TokenDataset;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import io.sparkmoe.train.DataIdentity;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunFolder;
import io.sparkmoe.train.RunSummary;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.SparkSession;

/**
 * {@code moe quickstart}: embedded corpus to tokenizer to Parquet to a trained model to a report.
 * Typed again it goes on where it stopped; what is finished is not done twice.
 */
public final class QuickstartJob {

  private static final String CORPUS = "quickstart-corpus.txt";
  private static final String MARK =
      "moe quickstart began in this folder when it was empty. It prepares data/ anew here when that"
          + " is not whole.\n";
  private static final String LAUNCHER = "deploy/bin/moe";
  private static final String DATASET_JSON =
      RunFolder.DATA_FOLDER + "/" + TokenDataset.DATASET_JSON;

  private final QuickstartOptions options;
  private final PrintStream out;
  private final PrintStream err;

  /**
   * @param out gets the report
   * @param err progress and remarks
   */
  public QuickstartJob(QuickstartOptions options, PrintStream out, PrintStream err) {
    this.options = options;
    this.out = out;
    this.err = err;
  }

  /**
   * Runs the job.
   *
   * @throws IllegalArgumentException when config, folder or cluster do not fit, in one sentence and
   *     before anything is written
   */
  public void run() throws IOException, InterruptedException {
    Configuration hadoop = HadoopSettings.current();
    RunConfig config = options.config().toRunConfig();
    try (Store run = HadoopStore.open(options.out(), hadoop)) {
      boolean reported = run.exists(RunFolder.REPORT_FILE);
      if (reported && new RunFolder(run).isFinished(config.train().steps())) {
        err.println(options.out() + " holds a finished run; name another --out to train anew");
        out.print(run.readText(RunFolder.REPORT_FILE));
        return;
      }
      requireOwn(run);
      if (!reported) {
        // Stopped between summary and report, a run is ended again: the report tells what only its
        // evaluation knows.
        run.delete(RunSummary.FILE);
      }
      String data = options.out() + "/" + RunFolder.DATA_FOLDER;
      if (!run.exists(DATASET_JSON)) {
        prepare(run, config, data);
      }
      TrainOptions train =
          new TrainOptions(
              options.config(),
              data,
              options.out(),
              TrainOptions.RESUME_AUTO,
              Engine.SPARK,
              options.executors());
      TrainJob.Trained trained = new TrainJob(train, err).run();
      out.print(
          RunReporter.report(
              title(config), run, TokenDataset.open(data, hadoop), trained, next(data)));
    }
  }

  /**
   * Refuses a folder that somebody else has filled: what an interrupted attempt left there is
   * deleted, so it must be this command's.
   */
  private static void requireOwn(Store run) throws IOException {
    List<String> present = new RunFolder(run).store().list("");
    if (!present.isEmpty() && !run.exists(RunFolder.QUICKSTART_FILE)) {
      throw new IllegalArgumentException(
          "--out "
              + run.location()
              + " holds "
              + present.get(0)
              + " and was not begun by moe quickstart, expected an empty or new folder, or one"
              + " with "
              + RunFolder.QUICKSTART_FILE
              + "; name another one");
    }
  }

  /**
   * Settings, slots and memory are checked for the training to come, before minutes are spent. The
   * training starts Spark again with the same settings: executors that have prepared a dataset hold
   * heaps grown by all that was cached on the way, which is more than the training's forecast of
   * their memory ({@link io.sparkmoe.train.ResidentMemory}) allows them; starting takes seconds.
   */
  private void prepare(Store run, RunConfig config, String data)
      throws IOException, InterruptedException {
    // What an interrupted attempt left behind.
    run.delete(CORPUS);
    if (!run.exists(RunFolder.CONFIG_FILE)) {
      new RunFolder(run).requireRoomFor(config, DataIdentity.UNKNOWN, Resume.auto());
    }
    try (SparkSetup setup = SparkSetup.start(config, 0, options.executors(), "moe quickstart")) {
      setup.remarks().forEach(err::println);
      err.println("preparing Europarl: languages, tokenizer, Parquet");
      run.writeText(RunFolder.QUICKSTART_FILE, MARK);
      run.delete(RunFolder.DATA_FOLDER);
      writeCorpus(run);
      new PrepareJob(SparkSession.builder().getOrCreate(), prepareOptions(run, config, data)).run();
      run.delete(CORPUS);
    }
  }

  /** Through the run's store, so that executors on other machines can read it too. */
  private static void writeCorpus(Store run) throws IOException {
    Path texts = Files.createTempFile("europarl", ".txt");
    try {
      EuroparlCorpus.writeTexts(texts);
      try (OutputStream copy = run.create(CORPUS)) {
        Files.copy(texts, copy);
      }
    } finally {
      Files.delete(texts);
    }
  }

  private static PrepareOptions prepareOptions(Store run, RunConfig config, String data) {
    return new PrepareOptions(
        List.of(run.location() + "/" + CORPUS),
        DocumentFormat.TEXT,
        PrepareOptions.DEFAULT_TEXT_COLUMN,
        SourceRule.language(EuroparlCorpus.LANGUAGES),
        "bpe:" + config.model().vocabSize(),
        config.train().seqLen(),
        PrepareOptions.DEFAULT_VALIDATION,
        data);
  }

  private static String title(RunConfig config) {
    return "spark-moe quickstart: "
        + config.model().numRoutedExperts()
        + " experts, Europarl in "
        + EuroparlCorpus.LANGUAGES.size()
        + " languages";
  }

  private List<Line> next(String data) {
    String folder = options.out();
    return List.of(
        new Line(
            "its loss again", LAUNCHER + " evaluate --checkpoint " + folder + " --data " + data),
        new Line("its parts", LAUNCHER + " inspect " + folder + " --verify"),
        new Line("longer", LAUNCHER + " quickstart --out longer --steps 1000"),
        new Line(
            "other settings",
            LAUNCHER
                + " train --config quickstart --data "
                + data
                + " --out other --set train.lr=0.002"),
        new Line("in Jupyter", "MOE_RUN=" + folder + " jupyter lab notebooks/run.ipynb"));
  }
}
