package io.sparkmoe.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

class SignalReportTest {

  private static final Logger LOG = LoggerFactory.getLogger(SignalReportTest.class);

  @Test
  @Timeout(120)
  void aSignalIsToldInOneSentenceAndSilencesTheLog() throws Exception {
    Process process = start("wait");
    try (BufferedReader out = process.inputReader(StandardCharsets.UTF_8)) {
      assertThat(out.readLine()).isEqualTo("ready");
      process.toHandle().destroy(); // leaves the streams open
      String rest = out.lines().reduce("", (a, b) -> a + b + "\n");
      assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
      assertThat(rest)
          .isEqualTo(
              "moe: interrupted: got Ctrl-C or another signal, expected to reach the end; run the"
                  + " same command again\n");
      assertThat(process.exitValue()).isEqualTo(143);
    }
  }

  @Test
  @Timeout(120)
  void aCommandThatEndsByItselfIsNotInterrupted() throws Exception {
    Process process = start("end");
    try (BufferedReader out = process.inputReader(StandardCharsets.UTF_8)) {
      assertThat(out.lines().toList()).containsExactly("ready");
      assertThat(process.waitFor()).isEqualTo(2);
    }
  }

  private static Process start(String how) throws Exception {
    return new ProcessBuilder(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                Command.class.getName(),
                how))
        .redirectErrorStream(true)
        .start();
  }

  /** A command in a JVM of its own; like Spark's, one of its parts complains of the end. */
  static final class Command {
    private Command() {}

    public static void main(String[] args) throws InterruptedException {
      CountDownLatch told = new CountDownLatch(1);
      PrintStream err =
          new PrintStream(System.out) {
            @Override
            public void println(String line) {
              super.println(line);
              told.countDown();
            }
          };
      Thread part = new Thread(() -> complainAfter(told));
      try (SignalReport report = new SignalReport(err, false)) {
        boolean waits = args[0].equals("wait");
        if (waits) {
          Runtime.getRuntime().addShutdownHook(part);
        }
        System.out.println("ready");
        if (waits) {
          new CountDownLatch(1).await();
        }
      }
      System.exit(2);
    }

    private static void complainAfter(CountDownLatch told) {
      try {
        told.await();
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
      LOG.error("a part of Spark is lost");
    }
  }
}
