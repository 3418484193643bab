package io.sparkmoe.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class ProgressPrinterTest {

  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private final AtomicLong nanos = new AtomicLong();

  @Test
  void aStepIsOneLine() {
    assertThat(ProgressPrinter.line(SampleRun.step(8, null), 300, 0.5))
        .isEqualTo(
            "step   8/300  loss 1.0000  4,096 tok/s  grad 0.50  load 2.5x  wire 3.6 MB  ETA 2:26");
    assertThat(ProgressPrinter.line(SampleRun.step(8, 2.0), 8, 0.5))
        .contains("step 8/8  loss 1.0000  validation 2.0000", "ETA 0:00");
  }

  @Test
  void aLogGetsTheFirstStepTheLastAndOneEveryTenSeconds() {
    ProgressPrinter progress = printer(0, 25);
    run(progress, 25);
    assertThat(printed().lines().map(line -> line.substring(5, 7).strip()))
        .containsExactly("1", "11", "21", "25");
    assertThat(printed()).doesNotContain("\r", "\u001b");
  }

  @Test
  void aTerminalGetsOneLineThatFitsAndIsEndedOnce() {
    ProgressPrinter progress = printer(40, 3);
    run(progress, 3);
    progress.close();
    String[] rewrites = printed().split("\r", -1);
    assertThat(rewrites).hasSize(4);
    assertThat(rewrites[0]).isEmpty();
    assertThat(rewrites[1]).endsWith("\u001b[K").hasSize(39 + 3);
    assertThat(rewrites[3]).endsWith("\u001b[K" + System.lineSeparator());
  }

  @Test
  void aBrokenRunEndsItsLine() {
    ProgressPrinter progress = printer(80, 3);
    progress.step(SampleRun.step(1, null));
    progress.close();
    progress.close();
    assertThat(printed()).endsWith("\u001b[K" + System.lineSeparator());
    assertThat(printed().lines()).hasSize(1 + 1);
  }

  private void run(ProgressPrinter progress, int steps) {
    for (int step = 1; step <= steps; step++) {
      progress.step(SampleRun.step(step, null));
      nanos.addAndGet(1_000_000_000L);
    }
  }

  private ProgressPrinter printer(int columns, int totalSteps) {
    return new ProgressPrinter(
        new PrintStream(bytes, true, StandardCharsets.UTF_8), columns, totalSteps, nanos::get);
  }

  private String printed() {
    return bytes.toString(StandardCharsets.UTF_8);
  }
}
