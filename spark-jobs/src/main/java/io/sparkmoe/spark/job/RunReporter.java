package io.sparkmoe.spark.job;

import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.io.Store;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.report.ExpertUse;
import io.sparkmoe.report.Plots;
import io.sparkmoe.report.RunMetrics;
import io.sparkmoe.report.RunReport;
import io.sparkmoe.report.RunReport.Line;
import io.sparkmoe.report.TextBaselines;
import io.sparkmoe.spark.data.TokenDataset;
import io.sparkmoe.train.MetricsLog;
import io.sparkmoe.train.RunSummary;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Closes a run: draws its plots, writes {@code report.txt} into its folder. */
final class RunReporter {

  /** Name of the report in a run's folder. */
  static final String FILE = "report.txt";

  private static final Logger LOG = LoggerFactory.getLogger(RunReporter.class);

  private final String title;
  private final Store run;
  private final ModelConfig model;
  private final TokenDataset data;

  /**
   * @param title first line of the report
   * @param run folder of the run
   * @param model shape of the model
   * @param data that it was trained on
   */
  RunReporter(String title, Store run, ModelConfig model, TokenDataset data) {
    this.title = title;
    this.run = run;
    this.model = model;
    this.data = data;
  }

  /**
   * Writes the report, or finds the one of a run that was finished before.
   *
   * @param next commands worth typing now
   * @return the report's text
   */
  String report(TrainOutcome outcome, List<Line> next) throws IOException {
    if (outcome.result().metrics().isEmpty() && run.exists(FILE)) {
      try (InputStream in = run.open(FILE)) {
        return new String(in.readAllBytes(), StandardCharsets.UTF_8);
      }
    }
    RunMetrics metrics = RunMetrics.read(run);
    List<ExpertUse> use =
        outcome.result().evaluation() == null
            ? List.of()
            : ExpertUse.of(model, outcome.result().evaluation().expertTokens());
    String text =
        RunReport.of(title, metrics, outcome.summary())
            .withBaselines(baselines())
            .withExperts(use)
            .withPlaces(places(draw(metrics, use)))
            .withNext(next)
            .render();
    try (OutputStream out = run.create(FILE)) {
      out.write(text.getBytes(StandardCharsets.UTF_8));
    }
    return text;
  }

  private TextBaselines baselines() throws IOException {
    if (data.info().validation().rows() == 0) {
      return null;
    }
    try (Tokenizer tokenizer = data.openTokenizer()) {
      return TextBaselines.of(data.readLocally(TokenDataset.VALIDATION), tokenizer);
    }
  }

  /** A machine without fonts must not fail a run that is trained. */
  private List<String> draw(RunMetrics metrics, List<ExpertUse> use) throws IOException {
    try {
      return Plots.write(run, metrics, use);
    } catch (RuntimeException | LinkageError | InternalError e) {
      LOG.warn(
          "no plots: this Java cannot draw ({}), expected fontconfig and a font; install them, "
              + "or plot metrics.jsonl elsewhere",
          e.toString());
      return List.of();
    }
  }

  private List<Line> places(List<String> plots) {
    String folder = run.location() + "/";
    List<Line> places = new ArrayList<>();
    places.add(new Line("checkpoints", folder + "checkpoints"));
    places.add(new Line("every step", folder + MetricsLog.FILE));
    places.add(new Line("summary", folder + RunSummary.FILE));
    places.add(new Line("this report", folder + FILE));
    if (!plots.isEmpty()) {
      places.add(new Line(plots.size() + " plots", folder + Plots.FOLDER));
    }
    places.add(new Line("dataset", data.location()));
    return places;
  }
}
