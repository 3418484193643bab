package io.sparkmoe.spark.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.distill.Prompt;
import io.sparkmoe.distill.SamplingSettings;
import io.sparkmoe.distill.Teacher;
import io.sparkmoe.distill.TeacherFailure;
import io.sparkmoe.distill.TeacherIdentity;
import io.sparkmoe.distill.TokenUsage;
import io.sparkmoe.distill.http.ScriptedEndpoint;
import io.sparkmoe.distill.quality.QualityLimits;
import io.sparkmoe.spark.data.LocalSpark;
import io.sparkmoe.spark.teach.TeacherSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.TaskContext;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

/** The job where Spark attempts tasks again, as it does when it loses an executor. */
@Timeout(120)
class TeachLostTaskTest {

  @RegisterExtension static final LocalSpark SPARK = new LocalSpark("local[2,3]");

  /**
   * Ends every task that opens it, but not the driver, which asks the first request.
   *
   * @param endpoint what the driver asks
   */
  private record Deadly(TeacherSpec endpoint) implements TeacherSpec {
    @Override
    public TeacherIdentity identity() {
      return endpoint.identity();
    }

    @Override
    public String form() {
      return endpoint.form();
    }

    @Override
    public String tokenizerJson() {
      return endpoint.tokenizerJson();
    }

    @Override
    public boolean isRemote() {
      return endpoint.isRemote();
    }

    @Override
    public List<String> goodFinishReasons() {
      return endpoint.goodFinishReasons();
    }

    @Override
    public void requireAskable(Prompt prompt) {
      endpoint.requireAskable(prompt);
    }

    @Override
    public int maxAskers() {
      return endpoint.maxAskers();
    }

    @Override
    public long offHeapBytes() {
      return endpoint.offHeapBytes();
    }

    @Override
    public Teacher open(int asker, int askers, int threads, TokenUsage spent) throws IOException {
      if (TaskContext.get() != null) {
        throw new AssertionError("ends the attempt, as the loss of its executor would");
      }
      return endpoint.open(asker, askers, threads, spent);
    }
  }

  @Test
  void tasksThatAreLostInEveryRoundEndTheRunWithADatasetOfWhatIsThere(@TempDir Path folder)
      throws Exception {
    Path prompts = Files.writeString(folder.resolve("prompts.txt"), "one\ntwo\nthree");
    try (ScriptedEndpoint endpoint = new ScriptedEndpoint((p, a) -> ScriptedEndpoint.answer())) {
      TeachOptions options =
          new TeachOptions(
              new TeachOptions.Prompts(List.of(prompts.toString()), null, false, 0),
              endpoint.address(),
              new TeachOptions.Host("echo", false, null, 4, 0, 20, 3, 0, 0, 0, 0),
              null,
              new SamplingSettings(64, 1, 1, 0, 1),
              1,
              new QualityLimits(List.of(), 0, 0, 1, List.of(), false),
              false,
              null,
              folder.resolve("out").toString());
      TeacherSpec deadly = new Deadly(Teachers.of(options, new Configuration()));
      assertThatThrownBy(
              () -> new TeachJob(options, System.out, System.err).run(SPARK.session(), deadly))
          .isInstanceOf(TeacherFailure.class)
          .hasMessage(
              "2 of 3 requests are unanswered after 5 rounds, each of which lost tasks, expected"
                  + " executors that live; see their logs, mend what ends them and run the same"
                  + " command again");
      assertThat(endpoint.bodies()).hasSize(1);
      assertThat(folder.resolve("out/distillation.json")).content().contains("\"rows\" : 1,");
    }
  }
}
