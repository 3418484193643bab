package io.sparkmoe.spark.job;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.config.ResolvedConfig;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.io.Store;
import io.sparkmoe.report.RunReport.Line;
import io.sparkmoe.spark.data.DocumentFormat;
import io.sparkmoe.spark.data.LocalSpark;
import io.sparkmoe.spark.data.SourceRule;
import io.sparkmoe.spark.data.TokenDataset;
import io.sparkmoe.train.MetricsLog;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunFolder;
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
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

/** The end of a run whose training is only what a training leaves behind. */
class RunReporterTest {

  @RegisterExtension static final LocalSpark SPARK = new LocalSpark();

  @TempDir Path folder;

  private ResolvedConfig config;
  private Path out;
  private TokenDataset data;
  private Store run;

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
    data = TokenDataset.open(out + "/data", new Configuration());
    run = new LocalStore(out);
  }

  @Test
  void aTrainedRunGetsItsPlotsAndItsReport() throws Exception {
    TrainJob.Trained trained = trained();
    RunReporter.draw(run, trained.expertUse());
    String report =
        RunReporter.report("a title", run, data, trained, List.of(new Line("more", "moe --help")));
    assertThat(report)
        .contains("a title", "bits per byte", "gzip -9", "byte unigram", "3 plots", "moe --help")
        .contains("de  25 %  #0 100 % 4.0x");
    assertThat(Files.readString(out.resolve("report.txt"))).isEqualTo(report);
    assertThat(out.resolve("plots/loss.png")).exists();
    assertThat(out.resolve("plots/expert-load.png")).exists();
    assertThat(out.resolve("plots/experts-by-source-layer-1.png")).exists();
  }

  @Test
  void aFinishedQuickstartShowsItsReportAgain() throws Exception {
    TrainJob.Trained trained = trained();
    String report = RunReporter.report("a title", run, data, trained, List.of());
    new RunFolder(run).writeSummary(trained.summary());
    ResolvedConfig threeSteps =
        new ConfigResolver().preset("tiny").set(List.of("train.steps=3")).resolve();
    ByteArrayOutputStream printed = new ByteArrayOutputStream();
    ByteArrayOutputStream remarks = new ByteArrayOutputStream();
    new QuickstartJob(
            new QuickstartOptions(threeSteps, out.toString(), 2),
            new PrintStream(printed, true, StandardCharsets.UTF_8),
            new PrintStream(remarks, true, StandardCharsets.UTF_8))
        .run();
    assertThat(printed.toString(StandardCharsets.UTF_8)).isEqualTo(report);
    assertThat(remarks.toString(StandardCharsets.UTF_8)).contains("holds a finished run");
  }

  private TrainJob.Trained trained() throws IOException {
    RunConfig runConfig = config.toRunConfig();
    List<StepMetrics> steps = new ArrayList<>();
    try (MetricsLog log = new MetricsLog(run, 0)) {
      for (int step = 1; step <= 3; step++) {
        steps.add(step(step, runConfig.model().numMoeLayers()));
        log.add(steps.get(step - 1));
      }
    }
    int experts = runConfig.model().numRoutedExperts();
    long[] one = new long[experts];
    long[] other = new long[experts];
    one[0] = 10;
    other[1] = 30;
    Evaluation evaluation = new Evaluation(100, 50, Map.of(1, Map.of("de", one, "fr", other)));
    RunResult result = new RunResult(3, 96, 0, evaluation, "00", steps);
    return new TrainJob.Trained(
        RunSummary.of(runConfig, result, 1.0, 2.0, 2, 1),
        ExpertUses.of(runConfig.model(), evaluation));
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
        new double[layers],
        0,
        0,
        Map.of("dispatch", 1000L),
        Map.of("trunk", 1.0),
        0,
        null,
        null,
        1L << 30,
        step == 3 ? 2.0 : null);
  }
}
