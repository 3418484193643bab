package io.sparkmoe.spark.job;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.distill.DistillationInfo;
import io.sparkmoe.distill.SamplingSettings;
import io.sparkmoe.distill.http.ScriptedEndpoint;
import io.sparkmoe.distill.http.ScriptedEndpoint.Script;
import io.sparkmoe.distill.quality.QualityLimits;
import io.sparkmoe.spark.cluster.LocalClusterSession;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The job on executors of their own, one of which dies. */
class TeachLostExecutorTest {

  private static final int PROMPTS = 40;

  @Test
  @Timeout(150)
  void aLostExecutorLosesNoAnswer(@TempDir Path folder) throws Exception {
    Map<String, AtomicInteger> served = new ConcurrentHashMap<>();
    AtomicInteger total = new AtomicInteger();
    Script killsOne =
        (p, a) ->
            (endpoint, exchange, body) -> {
              if (total.incrementAndGet() == PROMPTS / 3) {
                ProcessHandle.current()
                    .descendants()
                    .filter(
                        process ->
                            process.info().commandLine().orElse("").contains("ExecutorBackend"))
                    .findFirst()
                    .orElseThrow()
                    .destroyForcibly();
              }
              served.computeIfAbsent(p, key -> new AtomicInteger()).incrementAndGet();
              ScriptedEndpoint.answer().on(endpoint, exchange, body);
            };
    Path prompts =
        Files.writeString(
            folder.resolve("prompts.txt"),
            IntStream.range(0, PROMPTS)
                .mapToObj(i -> "prompt number " + i)
                .collect(Collectors.joining("\n")));
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint(killsOne);
        LocalClusterSession cluster = new LocalClusterSession(2, 512, Map.of())) {
      TeachOptions options =
          new TeachOptions(
              new TeachOptions.Prompts(List.of(prompts.toString()), null, false, 0),
              endpoint.address(),
              new TeachOptions.Host("echo", false, null, 4, 0, 60, 3, 0, 0, 0, 0),
              null,
              new SamplingSettings(64, 1, 1, 0, 1),
              1,
              new QualityLimits(List.of(), 0, 0, 1, List.of(), false),
              false,
              null,
              folder.resolve("out").toString());
      SparkSession session = SparkSession.builder().sparkContext(cluster.sc().sc()).getOrCreate();
      DistillationInfo info =
          new TeachJob(options, System.out, System.err)
              .run(session, Teachers.of(options, new Configuration()));

      assertThat(info.rows()).isEqualTo(PROMPTS);
      assertThat(info.failed()).isZero();
      assertThat(served).hasSize(PROMPTS);
      assertThat(served.values().stream().filter(count -> count.get() > 1).count())
          .as("under way when the executor died")
          .isLessThanOrEqualTo(4);
    }
  }
}
