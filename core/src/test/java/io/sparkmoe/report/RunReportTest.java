package io.sparkmoe.report;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.report.RunReport.Line;
import io.sparkmoe.train.RunSummary;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;

class RunReportTest {

  @Test
  void reportReadsAsAlways() throws IOException {
    String report =
        RunReport.of("spark-moe quickstart", SampleRun.metrics(10), SampleRun.summary())
            .withBaselines(new TextBaselines(400_000, 4.5, 2.5))
            .withExperts(SampleRun.experts())
            .withPlaces(List.of(new Line("metrics", "out/metrics.jsonl")))
            .withNext(List.of(new Line("the model's shape", "deploy/bin/moe inspect quickstart")))
            .render();
    assertThat(report).isEqualTo(golden("report.txt"));
  }

  @Test
  void everyLineFitsATerminal() {
    String report =
        RunReport.of("spark-moe quickstart", SampleRun.metrics(10), SampleRun.summary())
            .withBaselines(new TextBaselines(400_000, 4.5, 2.5))
            .withExperts(SampleRun.experts())
            .render();
    assertThat(report.lines())
        .allSatisfy(line -> assertThat(line.length()).isLessThanOrEqualTo(100));
  }

  @Test
  void sectionsWithoutDataAreLeftOut() {
    RunSummary full = SampleRun.summary();
    RunSummary bare =
        new RunSummary(
            10,
            40_960,
            null,
            null,
            full.weightsSha256(),
            4096,
            75,
            0,
            "fp32",
            "fp32",
            "fp32",
            "driver",
            2,
            5);
    assertThat(RunReport.of("spark-moe", SampleRun.metrics(1), bare).render())
        .doesNotContain("bits per byte", "mutual information", "Where everything is", "type next")
        .contains("in one process", "resumed from step 5", "started the training stage 2 times");
  }

  @Test
  void aModelWorseThanGzipIsNotPraised() {
    String report =
        RunReport.of("spark-moe", SampleRun.metrics(1), SampleRun.summary())
            .withBaselines(new TextBaselines(400_000, 4.5, 1.0))
            .render();
    assertThat(report).contains("25 % more bits than gzip -9");
  }

  static String golden(String name) throws IOException {
    try (InputStream in = RunReportTest.class.getResourceAsStream(name)) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }
  }
}
