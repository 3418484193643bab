package io.sparkmoe.spark.job;

import io.sparkmoe.report.ProgressPrinter;
import io.sparkmoe.train.MetricsLog;
import io.sparkmoe.train.RunFolder;
import io.sparkmoe.train.RunListener;
import io.sparkmoe.train.StepMetrics;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.util.List;

/** Shows a run's progress on stderr and keeps its metrics in the run's folder. */
final class RunConsole implements RunListener, AutoCloseable {

  private final RunFolder folder;
  private final PrintStream err;
  private final ProgressPrinter progress;
  private MetricsLog log;

  RunConsole(RunFolder folder, int totalSteps, PrintStream err) {
    this.folder = folder;
    this.err = err;
    this.progress = ProgressPrinter.onStandardError(totalSteps);
  }

  @Override
  public void onStart(int resumedFromStep, List<String> notes) {
    try {
      closeLog();
      log = new MetricsLog(folder.store(), resumedFromStep);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    notes.forEach(err::println);
  }

  @Override
  public void onStep(StepMetrics metrics) {
    try {
      log.add(metrics);
      if (metrics.validationLoss() != null) {
        log.flush();
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    progress.step(metrics);
  }

  @Override
  public void close() throws IOException {
    progress.close();
    closeLog();
  }

  private void closeLog() throws IOException {
    if (log != null) {
      log.close();
      log = null;
    }
  }
}
