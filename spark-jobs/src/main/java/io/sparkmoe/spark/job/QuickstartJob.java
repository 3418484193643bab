package io.sparkmoe.spark.job;

import io.sparkmoe.io.Store;
import io.sparkmoe.report.RunReport.Line;
import io.sparkmoe.spark.data.DocumentFormat;
import io.sparkmoe.spark.data.EuroparlCorpus;
import io.sparkmoe.spark.data.HadoopStore;
import io.sparkmoe.spark.data.SourceRule;
import io.sparkmoe.spark.data.TokenDataset;
import io.sparkmoe.train.RunConfig;
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

  /** Folder of the dataset within the run's. */
  private static final String DATA = "data";

  private static final String CORPUS = "corpus/europarl.txt";
  private static final String DATASET_JSON = DATA + "/dataset.json";

  private final SparkSession spark;
  private final QuickstartOptions options;
  private final Training training;

  /** Trains; {@code TrainJob} outside of tests. */
  @FunctionalInterface
  public interface Training {
    TrainOutcome train(SparkSession spark, TrainOptions options) throws Exception;
  }

  public QuickstartJob(SparkSession spark, QuickstartOptions options, Training training) {
    this.spark = spark;
    this.options = options;
    this.training = training;
  }

  /**
   * Runs the job.
   *
   * @param out gets the report
   */
  public void run(PrintStream out) throws Exception {
    Configuration hadoop = spark.sparkContext().hadoopConfiguration();
    RunConfig config = options.config().toRunConfig();
    try (Store run = HadoopStore.open(options.out(), hadoop)) {
      String dataLocation = options.out() + "/" + DATA;
      if (!run.exists(DATASET_JSON)) {
        prepare(run, config, dataLocation);
      }
      TrainOutcome outcome =
          training.train(
              spark,
              new TrainOptions(
                  options.config(),
                  dataLocation,
                  options.out(),
                  TrainOptions.RESUME_AUTO,
                  Engine.SPARK,
                  options.executors()));
      RunReporter reporter =
          new RunReporter(
              "spark-moe quickstart: "
                  + config.model().numRoutedExperts()
                  + " experts, Europarl in "
                  + EuroparlCorpus.LANGUAGES.size()
                  + " languages",
              run,
              config.model(),
              TokenDataset.open(dataLocation, hadoop));
      out.print(reporter.report(outcome, next(dataLocation)));
    }
  }

  private void prepare(Store run, RunConfig config, String dataLocation) throws IOException {
    // Written through the run's store, so that executors on other machines can read it too.
    Path texts = Files.createTempFile("europarl", ".txt");
    try {
      EuroparlCorpus.writeTexts(texts);
      try (OutputStream copy = run.create(CORPUS)) {
        Files.copy(texts, copy);
      }
    } finally {
      Files.delete(texts);
    }
    // What an interrupted attempt left behind is not a dataset.
    run.delete(DATA);
    new PrepareJob(
            spark,
            new PrepareOptions(
                List.of(run.location() + "/" + CORPUS),
                DocumentFormat.TEXT,
                PrepareOptions.DEFAULT_TEXT_COLUMN,
                SourceRule.language(EuroparlCorpus.LANGUAGES),
                "bpe:" + config.model().vocabSize(),
                config.train().seqLen(),
                PrepareOptions.DEFAULT_VALIDATION,
                dataLocation))
        .run();
  }

  private List<Line> next(String dataLocation) {
    String out = options.out();
    return List.of(
        new Line("the loss again", "moe evaluate --checkpoint " + out + " --data " + dataLocation),
        new Line("its checkpoint", "moe inspect " + out + " --verify"),
        new Line(
            "longer, elsewhere",
            "moe train --config quickstart --data " + dataLocation + " --out longer --steps 1000"),
        new Line("plots in Jupyter", "MOE_RUN=" + out + " jupyter lab notebooks/run.ipynb"));
  }
}
