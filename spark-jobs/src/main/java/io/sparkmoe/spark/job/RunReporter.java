package io.sparkmoe.spark.job;

import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.io.Store;
import io.sparkmoe.report.ExpertUse;
import io.sparkmoe.report.Plots;
import io.sparkmoe.report.RunMetrics;
import io.sparkmoe.report.RunReport;
import io.sparkmoe.report.RunReport.Line;
import io.sparkmoe.report.TextBaselines;
import io.sparkmoe.spark.data.TokenDataset;
import io.sparkmoe.train.MetricsLog;
import io.sparkmoe.train.RunFolder;
import io.sparkmoe.train.RunSummary;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Closes a run for people: its plots, and {@code report.txt} in its folder. */
final class RunReporter {

  private static final Logger LOG = LoggerFactory.getLogger(RunReporter.class);

  private RunReporter() {}

  /**
   * Draws what a run's metrics and evaluation show. A machine without fonts must not fail a run
   * that is trained, so it only gets a warning.
   */
  static void draw(Store run, List<ExpertUse> use) throws IOException {
    if (!run.exists(MetricsLog.FILE)) {
      LOG.warn("no plots: {} has no {}, expected one line a step", run.location(), MetricsLog.FILE);
      return;
    }
    try {
      Plots.write(run, RunMetrics.read(run), use);
    } catch (RuntimeException | LinkageError | InternalError e) {
      LOG.warn(
          "no plots: this Java cannot draw ({}), expected fontconfig and a font; install them, "
              + "or plot metrics.jsonl elsewhere",
          e.toString());
    }
  }

  /**
   * Writes the report of a trained run.
   *
   * @param title first line
   * @param run folder of the run
   * @param data that it was trained on
   * @param next commands worth typing now
   * @return the report's text
   */
  static String report(
      String title, Store run, TokenDataset data, TrainJob.Trained trained, List<Line> next)
      throws IOException {
    String text =
        RunReport.of(title, RunMetrics.read(run), trained.summary())
            .withBaselines(baselines(data))
            .withExperts(trained.expertUse())
            .withPlaces(places(run, data))
            .withNext(next)
            .render();
    run.writeText(RunFolder.REPORT_FILE, text);
    return text;
  }

  private static TextBaselines baselines(TokenDataset data) throws IOException {
    if (data.info().validation().rows() == 0) {
      return null;
    }
    try (Tokenizer tokenizer = data.openTokenizer()) {
      return TextBaselines.of(data.readLocally(TokenDataset.VALIDATION), tokenizer);
    }
  }

  private static List<Line> places(Store run, TokenDataset data) throws IOException {
    String folder = run.location() + "/";
    List<Line> places = new ArrayList<>();
    places.add(new Line("checkpoints", folder + CheckpointStore.FOLDER));
    places.add(new Line("every step", folder + MetricsLog.FILE));
    places.add(new Line("summary", folder + RunSummary.FILE));
    places.add(new Line("this report", folder + RunFolder.REPORT_FILE));
    int plots = run.list(Plots.FOLDER).size();
    if (plots > 0) {
      places.add(new Line(plots + " plots", folder + Plots.FOLDER));
    }
    places.add(new Line("dataset", data.location().replaceFirst("^file:/+", "/")));
    return places;
  }
}
