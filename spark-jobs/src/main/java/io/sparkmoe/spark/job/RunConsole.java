package io.sparkmoe.spark.job;

import io.sparkmoe.report.ProgressPrinter;
import io.sparkmoe.train.MetricsLog;
import io.sparkmoe.train.RunListener;
import io.sparkmoe.train.StepMetrics;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Locale;

/** Shows a run's progress on stderr and keeps its metrics in the run's folder. */
final class RunConsole implements RunListener, AutoCloseable {

  /** Share of the steps' time. */
  private static final double LONG_GATE_WAIT = 0.1;

  private final RunPlan plan;
  private final PrintStream err;
  private final ProgressPrinter progress;
  private MetricsLog log;
  private double gateWaitSum;
  private int gateWaitSteps;

  RunConsole(RunPlan plan, PrintStream err) {
    this.plan = plan;
    this.err = err;
    this.progress = ProgressPrinter.onStandardError(plan.config().train().steps());
  }

  @Override
  public void onStart(int resumedFromStep, List<String> notes) {
    try {
      closeLog();
      log = new MetricsLog(plan.folder().store(), resumedFromStep);
      log.note().ifPresent(err::println);
      plan.writeInputs();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    notes.forEach(err::println);
  }

  @Override
  public void onMetrics(StepMetrics metrics, boolean checkpoint) {
    try {
      log.add(metrics);
      // A run that resumes from the checkpoint never sees the steps before it again.
      if (checkpoint || metrics.validationLoss() != null) {
        log.flush();
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void onStep(StepMetrics metrics) {
    progress.step(metrics);
    gateWaitSum += metrics.gateWaitShare();
    gateWaitSteps++;
  }

  /** A gate on the driver that ranks wait for is worth moving. */
  private void remarkOnGateWait() {
    double share = gateWaitSteps == 0 ? 0 : gateWaitSum / gateWaitSteps;
    if (share > LONG_GATE_WAIT) {
      err.printf(
          Locale.ROOT,
          "ranks waited %.0f %% of the time for the driver's gate;"
              + " cluster.gate_placement=executor evaluates it"
              + " where the tokens are%n",
          100 * share);
    }
  }

  @Override
  public void close() throws IOException {
    progress.close();
    remarkOnGateWait();
    closeLog();
  }

  private void closeLog() throws IOException {
    if (log != null) {
      log.close();
      log = null;
    }
  }
}
