package io.sparkmoe.spark.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.data.ChatMessage;
import io.sparkmoe.distill.DistillationRow;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

class DistillationRowsTest {

  @RegisterExtension static final LocalSpark SPARK = new LocalSpark();

  private static final DistillationRow FULL =
      DistillationRow.builder()
          .id("a1")
          .source("de")
          .prompt("2 + 2 =")
          .completion("<think>\nvier\n</think>\n\n4")
          .messages(List.of(new ChatMessage("user", "2 + 2 ="), new ChatMessage("assistant", "4")))
          .ids("f00d", new int[] {5, 6}, new int[] {7, 8})
          .templateSha256("cafe")
          .reasoning("vier")
          .answer("4")
          .finishReason("stop")
          .teacher("echo", "r1")
          .sampling(0.7, 0.95, 1L << 52)
          .sampledLogprobs(new float[] {-0.5f, -1.25f})
          .topk(
              new int[][] {{7, 1}, {2, 8}},
              new float[][] {{-0.5f, -2}, {-1, -1.25f}},
              new float[] {-1.5f, Float.NEGATIVE_INFINITY})
          .correct(true)
          .createdAt(Instant.parse("2026-01-02T03:04:05.678Z"))
          .build();

  private static final DistillationRow SPARSE =
      DistillationRow.builder()
          .id("b2")
          .completion("hm")
          .answer("hm")
          .teacher("echo", null)
          .createdAt(Instant.EPOCH)
          .build();

  @Test
  void rowsComeBackFromParquetAsTheyWere(@TempDir Path folder) {
    String out = folder.resolve("rows").toString();
    DistillationRows.toDataset(SPARK.session(), List.of(FULL, SPARSE)).write().parquet(out);

    List<DistillationRow> read =
        DistillationRows.read(SPARK.session(), out).orderBy("id").collectAsList().stream()
            .map(DistillationRows::fromRow)
            .toList();

    assertThat(read).usingRecursiveComparison().isEqualTo(List.of(FULL, SPARSE));
  }

  /** Another project's datasets, and those of earlier versions, do not name the template. */
  @Test
  void rowsWithoutTheTemplatesColumnAreRead(@TempDir Path folder) throws IOException {
    String rows = folder.resolve("rows").toString();
    DistillationRows.toDataset(SPARK.session(), List.of(FULL))
        .drop("template_sha256")
        .coalesce(1)
        .write()
        .parquet(rows);
    DistillationRow expected = FULL.toBuilder().templateSha256(null).build();
    List<DistillationRow> read = new ArrayList<>();
    try (Stream<Path> files = Files.list(Path.of(rows))) {
      Path file = files.filter(f -> f.toString().endsWith(".parquet")).findFirst().orElseThrow();
      DistillationRowReader.read(
          new org.apache.hadoop.fs.Path(file.toUri()), new Configuration(), read::add);
    }
    assertThat(read).usingRecursiveComparison().isEqualTo(List.of(expected));
    assertThat(DistillationRows.fromRow(DistillationRows.read(SPARK.session(), rows).first()))
        .usingRecursiveComparison()
        .isEqualTo(expected);

    DistillationRow newer = FULL.toBuilder().id("a2").build();
    DistillationRows.toDataset(SPARK.session(), List.of(newer))
        .write()
        .mode("append")
        .parquet(rows);
    assertThat(
            DistillationRows.read(SPARK.session(), rows)
                .orderBy("id")
                .select("template_sha256")
                .as(Encoders.STRING())
                .collectAsList())
        .as("both in one folder")
        .containsExactly(null, "cafe");
  }

  @Test
  void columnsAreThoseOfTheInterface() {
    assertThat(DistillationRows.schema().fieldNames())
        .containsExactly(
            "id",
            "source",
            "prompt",
            "completion",
            "messages",
            "prompt_ids",
            "completion_ids",
            "reasoning",
            "answer",
            "finish_reason",
            "teacher",
            "teacher_revision",
            "tokenizer_sha256",
            "template_sha256",
            "temperature",
            "top_p",
            "seed",
            "sampled_logprobs",
            "topk_ids",
            "topk_logprobs",
            "tail_logmass",
            "correct",
            "created_at");
  }

  @Test
  void anotherTableIsRefusedByTheColumnThatDiffers(@TempDir Path folder) {
    String out = folder.resolve("other").toString();
    SPARK.session().range(3).write().parquet(out);

    assertThatThrownBy(() -> DistillationRows.read(SPARK.session(), out))
        .isInstanceOf(BadInputException.class)
        .hasMessage(
            "not a distillation dataset: column id is bigint, expected string; make it with"
                + " moe teach");
  }

  @Test
  void messagesAreMatchedByNameNotByOrder() {
    Row row =
        DistillationRows.toDataset(SPARK.session(), List.of(FULL))
            .selectExpr("*", "transform(messages, m -> struct(m.content, m.role)) as swapped")
            .drop("messages")
            .withColumnRenamed("swapped", "messages")
            .first();

    assertThat(DistillationRows.fromRow(row).messages()).isEqualTo(FULL.messages());
  }
}
