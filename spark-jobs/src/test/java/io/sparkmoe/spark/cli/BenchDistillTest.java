package io.sparkmoe.spark.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.data.TeacherColumns;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.distill.student.CharacterText;
import io.sparkmoe.distill.student.TaughtRow;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.spark.data.DistillationFiles;
import io.sparkmoe.train.TeacherForcing;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The study of students, from a text to a table, in a shape that takes seconds. */
class BenchDistillTest {

  /** As the preset tiny has it. */
  private static final int SEQ_LEN = 32;

  private static final int TOP_K = 3;

  @TempDir Path folder;

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();

  @Test
  @DisplayName("a study leaves its teacher's rows in Parquet, from which moe distill goes on")
  void storesWhatTheTeacherSays() throws IOException {
    Path text = folder.resolve("text.txt");
    Files.writeString(text, "the quick brown fox jumps over the lazy dog; ".repeat(40));
    Path study = folder.resolve("study");
    assertThat(
            moe(
                "bench",
                "distill",
                "--text=" + text,
                "--out=" + study,
                "--teacher=tiny",
                "--student=tiny",
                "--teacher-steps=6",
                "--steps=4",
                "--seeds=1",
                "--top-k=" + TOP_K,
                "--threads=2"))
        .as(err.toString(StandardCharsets.UTF_8))
        .isZero();
    List<String> lines = out.toString(StandardCharsets.UTF_8).lines().toList();
    JsonNode report = new ObjectMapper().readTree(lines.get(lines.size() - 1));
    assertThat(report.path("arms")).hasSize(6);
    JsonNode info = new ObjectMapper().readTree(study.resolve("taught/distillation.json").toFile());
    assertThat(info.path("topK").asInt()).isEqualTo(3);
    assertThat(info.path("rows").asInt()).isEqualTo(51);
    assertSameNumbers(Files.readString(text), study);

    assertThat(distill(study, "--steps=2")).as(err.toString(StandardCharsets.UTF_8)).isZero();
    String summary = Files.readString(folder.resolve("student/summary.json"));

    err.reset();
    assertThat(distill(study, "--steps=3", "--set=distill.temperature=2")).isEqualTo(2);
    assertThat(err.toString(StandardCharsets.UTF_8))
        .hasLineCount(1)
        .startsWith("moe: distill failed: checkpoint ")
        .contains("was trained with distill.temperature=1.0, this run has 2.0; set");
    err.reset();
    assertThat(distill(study, "--steps=3", "--validation=0.1")).isEqualTo(2);
    assertThat(err.toString(StandardCharsets.UTF_8))
        .hasLineCount(1)
        .contains("was trained with --validation 0.02, this run has 0.1, expected the same rows");
    assertThat(folder.resolve("student/summary.json")).hasContent(summary);
    assertThat(distill(study, "--steps=3")).as(err.toString(StandardCharsets.UTF_8)).isZero();
  }

  private int distill(Path study, String... options) {
    List<String> words =
        new ArrayList<>(
            List.of(
                "distill",
                "--config=tiny",
                "--data=" + study.resolve("taught"),
                "--out=" + folder.resolve("student"),
                "--engine=local"));
    words.addAll(List.of(options));
    return moe(words.toArray(String[]::new));
  }

  /** The rows in Parquet are what the teacher says when it reads the text again, to the bit. */
  private static void assertSameNumbers(String content, Path study) throws IOException {
    CharacterText text = CharacterText.of(content, 0.1, SEQ_LEN);
    List<TokenRow> said;
    try (CheckpointReader teacher =
        new CheckpointStore(new LocalStore(study.resolve("teacher"))).open(6)) {
      said = TeacherForcing.teach(teacher, text.train(), SEQ_LEN, new int[] {TOP_K}, 2).get(0);
    }
    List<DistillationRow> stored = new ArrayList<>();
    LocalStore taught = new LocalStore(study.resolve("taught"));
    DistillationFiles.read(taught, new Configuration(), stored::add);
    assertThat(stored).hasSameSizeAs(said);
    for (int r = 0; r < said.size(); r++) {
      int targets = said.get(r).numTokens();
      TeacherColumns expected = said.get(r).teacher();
      TeacherColumns actual = TaughtRow.withTeacher(said.get(r), stored.get(r)).teacher();
      int end = targets * TOP_K;
      assertThat(Arrays.equals(actual.ids(), TOP_K, end, expected.ids(), TOP_K, end)).isTrue();
      assertThat(
              Arrays.equals(
                  actual.logProbabilities(), TOP_K, end, expected.logProbabilities(), TOP_K, end))
          .isTrue();
      assertThat(
              Arrays.equals(actual.tailLogMass(), 1, targets, expected.tailLogMass(), 1, targets))
          .isTrue();
    }
  }

  private int moe(String... words) {
    PrintStream toOut = new PrintStream(out, true, StandardCharsets.UTF_8);
    PrintStream toErr = new PrintStream(err, true, StandardCharsets.UTF_8);
    SparkJobs jobs = new SparkJobs(InputStream.nullInputStream(), toOut, toErr);
    return Main.run(words, jobs, toOut, toErr);
  }
}
