package io.sparkmoe.report;

import io.sparkmoe.train.RunSummary;
import io.sparkmoe.train.StepMetrics;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A small run with round numbers. */
final class SampleRun {

  private SampleRun() {}

  static StepMetrics step(int step, Double validationLoss) {
    Map<String, Long> wire = new LinkedHashMap<>();
    wire.put("dispatch", 1_200_000L);
    wire.put("combine", 2_400_000L);
    wire.put("gate", 0L);
    Map<String, Double> phases = new LinkedHashMap<>();
    phases.put("trunk", 0.3);
    phases.put("experts", 0.5);
    phases.put("gateWait", 0.196);
    phases.put("data", 0.004);
    return new StepMetrics(
        step,
        4096L * step,
        8.0 / step,
        8.0 / step,
        0,
        0,
        0.5,
        1e-3,
        4096,
        1.0,
        2.5,
        new double[] {2.5, 1.5},
        new double[] {2.1, 1.4},
        0,
        0,
        wire,
        phases,
        0.196,
        null,
        null,
        1L << 30,
        validationLoss);
  }

  static RunMetrics metrics(int steps) {
    List<StepMetrics> all = new ArrayList<>();
    for (int step = 1; step <= steps; step++) {
      all.add(step(step, step == steps ? 2.0 : null));
    }
    return new RunMetrics(all);
  }

  static RunSummary summary() {
    return new RunSummary(
        10, 40_960, 2.0, 1.25, "0".repeat(64), 4096, 75, 2, "fp32", "fp8", "fp8", "driver", 1, 0);
  }

  static List<ExpertUse> experts() {
    return List.of(
        new ExpertUse("layer 1", List.of("de", "fr"), new long[][] {{50, 50, 0}, {50, 50, 0}}),
        new ExpertUse("MTP 1", List.of("de", "fr"), new long[][] {{90, 10, 0}, {0, 10, 90}}));
  }
}
