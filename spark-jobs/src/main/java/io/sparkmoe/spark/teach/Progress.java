package io.sparkmoe.spark.teach;

import io.sparkmoe.spark.data.AnswerFolder;
import java.io.IOException;
import java.io.PrintStream;
import java.time.Duration;
import java.util.Locale;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/**
 * Tells every few seconds how many answers are there, as the folder's listing says: tasks report to
 * Spark only when they end.
 */
public final class Progress {

  private static final Duration EVERY = Duration.ofSeconds(5);

  private final PrintStream err;

  public Progress(PrintStream err) {
    this.err = err;
  }

  /** Tells until it is closed, and then once more. */
  interface Watch extends AutoCloseable {
    @Override
    void close();
  }

  Watch watch(AnswerFolder folder, long total) {
    ScheduledExecutorService timer =
        Executors.newSingleThreadScheduledExecutor(
            task -> {
              Thread thread = new Thread(task, "teach-progress");
              thread.setDaemon(true);
              return thread;
            });
    long start = System.nanoTime();
    timer.scheduleWithFixedDelay(
        () -> tell(folder, total, System.nanoTime() - start),
        EVERY.toMillis(),
        EVERY.toMillis(),
        TimeUnit.MILLISECONDS);
    return () -> {
      timer.shutdownNow();
      tell(folder, total, System.nanoTime() - start);
    };
  }

  private void tell(AnswerFolder folder, long total, long nanos) {
    try {
      AnswerFolder.State state = folder.state();
      err.printf(
          Locale.ROOT,
          "moe: %d of %d answers, %d tokens charged, %d s%n",
          Math.min(state.answers(), total),
          total,
          state.usage().total(),
          TimeUnit.NANOSECONDS.toSeconds(nanos));
    } catch (IOException e) {
      err.println("moe: progress cannot be read: " + e.getMessage());
    }
  }
}
