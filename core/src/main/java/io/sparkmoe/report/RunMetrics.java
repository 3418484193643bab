package io.sparkmoe.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sparkmoe.io.Store;
import io.sparkmoe.train.MetricsLog;
import io.sparkmoe.train.StepMetrics;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The steps of a run in order, as {@code metrics.jsonl} holds them, and sums over them.
 *
 * @param steps at least one
 */
public record RunMetrics(List<StepMetrics> steps) {

  public RunMetrics {
    steps = List.copyOf(steps);
    if (steps.isEmpty()) {
      throw new IllegalArgumentException("a run's metrics hold no step, expected at least one");
    }
  }

  /** Reads a run's folder; fields that a later version adds are skipped. */
  public static RunMetrics read(Store run) throws IOException {
    ObjectMapper json =
        new ObjectMapper().disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES);
    List<StepMetrics> steps = new ArrayList<>();
    try (BufferedReader reader =
        new BufferedReader(
            new InputStreamReader(run.open(MetricsLog.FILE), StandardCharsets.UTF_8))) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        try {
          steps.add(json.readValue(line, StepMetrics.class));
        } catch (JsonProcessingException e) {
          throw new IOException(
              "line "
                  + (steps.size() + 1)
                  + " of "
                  + MetricsLog.FILE
                  + " in "
                  + run.location()
                  + " is no step, expected one JSON object a line; was the file edited?",
              e);
        }
      }
    }
    return new RunMetrics(steps);
  }

  /** The last step. */
  public StepMetrics last() {
    return steps.get(steps.size() - 1);
  }

  /** Seconds of all steps by phase, in the order of the phases. */
  public Map<String, Double> secondsByPhase() {
    Map<String, Double> seconds = new LinkedHashMap<>();
    for (StepMetrics step : steps) {
      step.phaseSeconds().forEach((phase, s) -> seconds.merge(phase, s, Double::sum));
    }
    return seconds;
  }

  /** Bytes sent in all steps by kind. */
  public Map<String, Long> bytesByKind() {
    Map<String, Long> bytes = new LinkedHashMap<>();
    for (StepMetrics step : steps) {
      step.wireBytes().forEach((kind, n) -> bytes.merge(kind, n, Long::sum));
    }
    return bytes;
  }

  /** (token, expert) pairs of all steps that were routed but not served. */
  public long droppedTokens() {
    return steps.stream().mapToLong(StepMetrics::droppedTokens).sum();
  }
}
