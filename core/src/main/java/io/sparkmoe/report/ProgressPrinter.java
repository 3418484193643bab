package io.sparkmoe.report;

import io.sparkmoe.train.StepMetrics;
import java.io.PrintStream;
import java.util.function.LongSupplier;

/**
 * Shows a run while it trains: on a terminal one line that is rewritten every step, elsewhere (a
 * batch log) one plain line every few seconds. The first and the last step are always shown.
 */
public final class ProgressPrinter {

  /** Seconds between two lines where there is no terminal. */
  private static final double PLAIN_INTERVAL_SECONDS = 10;

  /** Rewriting more often than this only costs time. */
  private static final double LIVE_INTERVAL_SECONDS = 0.1;

  /** Weight of the newest step in the smoothed time of a step. */
  private static final double NEWEST = 0.1;

  private final PrintStream out;
  private final int columns;
  private final int totalSteps;
  private final LongSupplier nanoClock;
  private boolean shownAny;
  private long shownAt;
  private double secondsPerStep;
  private boolean lineOpen;

  /**
   * @param out where to, usually stderr
   * @param columns width of the terminal, 0 = none
   * @param totalSteps last step of the run
   * @param nanoClock current time, nanoseconds from any origin
   */
  public ProgressPrinter(PrintStream out, int columns, int totalSteps, LongSupplier nanoClock) {
    this.out = out;
    this.columns = columns;
    this.totalSteps = totalSteps;
    this.nanoClock = nanoClock;
  }

  /**
   * On stderr, as wide as the launcher found the terminal to be ({@code MOE_TERMINAL_COLUMNS});
   * plain lines when it found none.
   */
  public static ProgressPrinter onStandardError(int totalSteps) {
    String columns = System.getenv("MOE_TERMINAL_COLUMNS");
    int width =
        columns == null || !columns.matches("[1-9][0-9]{0,4}") ? 0 : Integer.parseInt(columns);
    return new ProgressPrinter(System.err, width, totalSteps, System::nanoTime);
  }

  /** Shows a step that is over. */
  public void step(StepMetrics metrics) {
    secondsPerStep =
        secondsPerStep == 0
            ? metrics.stepSeconds()
            : (1 - NEWEST) * secondsPerStep + NEWEST * metrics.stepSeconds();
    boolean last = metrics.step() >= totalSteps;
    long now = nanoClock.getAsLong();
    double pause = columns > 0 ? LIVE_INTERVAL_SECONDS : PLAIN_INTERVAL_SECONDS;
    if (shownAny && !last && (now - shownAt) * 1e-9 < pause) {
      return;
    }
    shownAny = true;
    shownAt = now;
    String line = line(metrics, totalSteps, secondsPerStep);
    if (columns == 0) {
      out.println(line);
      return;
    }
    // One column short of the edge, where some terminals already wrap.
    String fitting = line.substring(0, Math.min(line.length(), columns - 1));
    out.print("\r" + fitting + "\u001b[K");
    out.flush();
    lineOpen = true;
    if (last) {
      close();
    }
  }

  /**
   * Ends the live line, so that what follows starts on its own; call it when the run is over or
   * fails.
   */
  public void close() {
    if (lineOpen) {
      out.println();
      lineOpen = false;
    }
  }

  static String line(StepMetrics metrics, int totalSteps, double secondsPerStep) {
    long wire = metrics.wireBytes().values().stream().mapToLong(Long::longValue).sum();
    int width = Integer.toString(totalSteps).length();
    return "step "
        + " ".repeat(Math.max(0, width - Integer.toString(metrics.step()).length()))
        + metrics.step()
        + "/"
        + totalSteps
        + "  loss "
        + Quantity.decimal(metrics.loss(), 4)
        + (metrics.validationLoss() == null
            ? ""
            : "  validation " + Quantity.decimal(metrics.validationLoss(), 4))
        + "  "
        + Quantity.count(Math.round(metrics.tokensPerSecond()))
        + " tok/s  grad "
        + Quantity.decimal(metrics.gradNorm(), 2)
        + "  load "
        + Quantity.decimal(metrics.expertLoadMaxOverMean(), 1)
        + "x  wire "
        + Quantity.bytes(wire)
        + "  ETA "
        + Quantity.clock((totalSteps - metrics.step()) * secondsPerStep);
  }
}
