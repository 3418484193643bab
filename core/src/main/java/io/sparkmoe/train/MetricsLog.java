package io.sparkmoe.train;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sparkmoe.io.Store;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

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

  private static final ObjectMapper JSON = new ObjectMapper();

  private final Store store;
  private final List<String> lines = new ArrayList<>();
  private long nextWrite;
  private boolean dirty;

  /**
   * @param resumedFromStep steps whose lines are kept from an earlier run; later ones are dropped
   */
  public MetricsLog(Store store, int resumedFromStep) throws IOException {
    this.store = store;
    if (resumedFromStep > 0 && store.exists(FILE)) {
      try (BufferedReader reader =
          new BufferedReader(new InputStreamReader(store.open(FILE), StandardCharsets.UTF_8))) {
        for (String line = reader.readLine(); line != null; line = reader.readLine()) {
          JsonNode node = JSON.readTree(line);
          if (node.path("step").asInt(Integer.MAX_VALUE) <= resumedFromStep) {
            lines.add(line);
          }
        }
      }
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
