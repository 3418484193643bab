package io.sparkmoe.spark.job;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.config.ResolvedConfig;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.spark.data.DocumentFormat;
import io.sparkmoe.spark.data.LocalSpark;
import io.sparkmoe.spark.data.SourceRule;
import io.sparkmoe.train.MetricsLog;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunResult;
import io.sparkmoe.train.RunSummary;
import io.sparkmoe.train.StepMetrics;
import io.sparkmoe.train.protocol.StepEnd.Evaluation;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

/** The job around a training that only writes what a training leaves behind. */
class QuickstartJobTest {

  @RegisterExtension static final LocalSpark SPARK = new LocalSpark();

  @TempDir Path folder;

  private final List<TrainOptions> trained = new ArrayList<>();
  private ResolvedConfig config;
  private Path out;

  @BeforeEach
  void prepareSmallDataset() throws IOException {
    config = new ConfigResolver().preset("tiny").resolve();
    out = folder.resolve("run");
    Path texts = folder.resolve("texts.txt");
    Files.write(texts, List.of("held out, as the first is", "trained on ".repeat(50)));
    new PrepareJob(
            SPARK.session(),
            new PrepareOptions(
                List.of(texts.toString()),
                DocumentFormat.TEXT,
                PrepareOptions.DEFAULT_TEXT_COLUMN,
                SourceRule.single(),
                "byte",
                16,
                PrepareOptions.DEFAULT_VALIDATION,
                out + "/data"))
        .run();
  }

  @Test
  void reportIsPrintedAndKept() throws Exception {
    String report = run(true);
    assertThat(report)
        .contains("bits per byte", "gzip -9", "byte unigram", "What to type next")
        .contains("layer 2");
    assertThat(Files.readString(out.resolve("report.txt"))).isEqualTo(report);
    assertThat(out.resolve("plots/loss.png")).exists();
    assertThat(out.resolve("plots/experts-by-source-layer-2.png")).exists();
    assertThat(trained).singleElement().extracting(TrainOptions::data).isEqualTo(out + "/data");
  }

  @Test
  void aFinishedRunShowsItsReportAgain() throws Exception {
    String report = run(true);
    Files.delete(out.resolve("plots/loss.png"));
    assertThat(run(false)).isEqualTo(report);
    assertThat(out.resolve("plots/loss.png")).doesNotExist();
  }

  @Test
  void aPreparedDatasetIsNotPreparedAgain() throws Exception {
    byte[] dataset = Files.readAllBytes(out.resolve("data/dataset.json"));
    run(true);
    assertThat(Files.readAllBytes(out.resolve("data/dataset.json"))).isEqualTo(dataset);
    assertThat(out.resolve("corpus")).doesNotExist();
  }

  private String run(boolean hasSteps) throws Exception {
    ByteArrayOutputStream printed = new ByteArrayOutputStream();
    new QuickstartJob(
            SPARK.session(),
            new QuickstartOptions(config, out.toString(), 2),
            (spark, options) -> train(spark, options, hasSteps))
        .run(new PrintStream(printed, true, StandardCharsets.UTF_8));
    return printed.toString(StandardCharsets.UTF_8);
  }

  private TrainOutcome train(SparkSession spark, TrainOptions options, boolean hasSteps)
      throws IOException {
    trained.add(options);
    RunConfig run = config.toRunConfig();
    int layers = run.model().numMoeLayers();
    List<StepMetrics> steps = new ArrayList<>();
    if (hasSteps) {
      try (MetricsLog log = new MetricsLog(new LocalStore(out), 0)) {
        for (int step = 1; step <= 3; step++) {
          steps.add(step(step, layers));
          log.add(steps.get(step - 1));
        }
      }
    }
    int experts = run.model().numRoutedExperts();
    long[] one = new long[experts];
    long[] other = new long[experts];
    one[0] = 10;
    other[1] = 30;
    Evaluation evaluation = new Evaluation(100, 50, Map.of(1, Map.of("de", one, "fr", other)));
    RunResult result =
        new RunResult(3, 96, hasSteps ? 0 : 3, hasSteps ? evaluation : null, 3, "00", steps);
    return new TrainOutcome(result, RunSummary.of(run, result, 1.0, 2.0, options.executors(), 1));
  }

  private static StepMetrics step(int step, int layers) {
    return new StepMetrics(
        step,
        32L * step,
        5.0 / step,
        5.0 / step,
        0,
        0,
        1,
        1e-3,
        32,
        1,
        1.5,
        new double[layers],
        0,
        0,
        Map.of("dispatch", 1000L),
        Map.of("trunk", 1.0),
        0,
        1L << 30,
        step == 3 ? 2.0 : null);
  }
}
