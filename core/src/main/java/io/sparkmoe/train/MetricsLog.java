package io.sparkmoe.train;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.io.Store;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * Writes {@code metrics.jsonl}, one object a step. The file is replaced as a whole every few
 * seconds, because object stores cannot append; the pause grows with the file so that writing stays
 * a small share of the time.
 */
public final class MetricsLog implements AutoCloseable {

  /** Name of the file in a run's folder. */
  public static final String FILE = "metrics.jsonl";

  private static final long SHORTEST_PAUSE_NANOS = 5_000_000_000L;

  /** Writing may take one part in so many of the time. */
  private static final int PAUSE_TIMES_WRITE = 50;

  /** A line that lost its end, and with it its newline, must not pass for its first object. */
  private static final ObjectMapper JSON =
      new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private final Store store;
  private final List<String> lines = new ArrayList<>();
  private long nextWrite;
  private boolean dirty;
  private String note;

  /**
   * @param resumedFromStep steps whose lines are kept from an earlier run; later ones are dropped
   * @throws CorruptFileException as {@link #requireWhole}
   */
  public MetricsLog(Store store, int resumedFromStep) throws IOException {
    this.store = store;
    if (resumedFromStep == 0 || !store.exists(FILE)) {
      return;
    }
    int[] last = {0};
    boolean cut =
        read(
            store,
            (step, line) -> {
              last[0] = Math.max(last[0], step);
              if (step <= resumedFromStep) {
                lines.add(line);
              }
            });
    // Else the cut line is of a step that is taken again.
    if (cut && last[0] < resumedFromStep) {
      note =
          store.describe(FILE)
              + " has a last line that was cut off, which is left out: steps "
              + (last[0] + 1)
              + " to "
              + resumedFromStep
              + " have no metrics";
    }
    dirty = cut;
  }

  /** What a person should know of the lines that were there, one sentence. */
  public Optional<String> note() {
    return Optional.ofNullable(note);
  }

  /**
   * Refuses a file that has a damaged line before its last: which steps it would lose is not known.
   * A damaged last line is passed over, since whatever copied the file may have been stopped.
   *
   * @throws CorruptFileException naming file and line
   */
  static void requireWhole(Store store) throws IOException {
    if (store.exists(FILE)) {
      read(store, (step, line) -> {});
    }
  }

  @FunctionalInterface
  private interface StepLine {
    void accept(int step, String line);
  }

  /** Whether the last line is damaged; all others are handed over. */
  private static boolean read(Store store, StepLine lines) throws IOException {
    int damaged = 0;
    int number = 0;
    try (BufferedReader reader =
        new BufferedReader(new InputStreamReader(store.open(FILE), StandardCharsets.UTF_8))) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        if (damaged > 0) {
          throw new CorruptFileException(
              store.describe(FILE),
              "line "
                  + damaged
                  + " is no step's metrics, expected one JSON object; correct or delete the line,"
                  + " or move the file away to go on without its steps");
        }
        number++;
        OptionalInt step = step(line);
        if (step.isPresent()) {
          lines.accept(step.getAsInt(), line);
        } else {
          damaged = number;
        }
      }
    }
    return damaged > 0;
  }

  private static OptionalInt step(String line) throws IOException {
    try {
      JsonNode step = JSON.readTree(line).path("step");
      return step.isInt() ? OptionalInt.of(step.intValue()) : OptionalInt.empty();
    } catch (JsonProcessingException e) {
      return OptionalInt.empty();
    }
  }

  /** Adds a step; the file follows within seconds, or at the next {@link #flush}. */
  public void add(StepMetrics metrics) throws IOException {
    try {
      lines.add(JSON.writeValueAsString(metrics));
    } catch (JsonProcessingException e) {
      throw new UncheckedIOException(e);
    }
    dirty = true;
    if (System.nanoTime() - nextWrite >= 0) {
      flush();
    }
  }

  /** Writes what is not written yet. */
  public void flush() throws IOException {
    if (!dirty) {
      return;
    }
    long start = System.nanoTime();
    try (OutputStream out = store.create(FILE)) {
      for (String line : lines) {
        out.write(line.getBytes(StandardCharsets.UTF_8));
        out.write('\n');
      }
    }
    long end = System.nanoTime();
    nextWrite = end + Math.max(SHORTEST_PAUSE_NANOS, PAUSE_TIMES_WRITE * (end - start));
    dirty = false;
  }

  @Override
  public void close() throws IOException {
    flush();
  }
}
