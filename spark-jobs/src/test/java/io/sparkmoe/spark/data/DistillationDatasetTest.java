package io.sparkmoe.spark.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.data.ByteTokenizer;
import io.sparkmoe.data.PositionedRow;
import io.sparkmoe.data.RowOrder;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.distill.DistillationInfo;
import io.sparkmoe.distill.DistillationRow;
import io.sparkmoe.train.DistillConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

class DistillationDatasetTest {

  @RegisterExtension static final LocalSpark SPARK = new LocalSpark();

  private static final int SEQ_LEN = 16;

  @TempDir static Path folder;

  @BeforeAll
  static void write() {
    List<DistillationRow> rows = new ArrayList<>();
    for (int i = 0; i < 60; i++) {
      rows.add(row("r" + i, "the answer is " + i * i));
    }
    DistillationRows.toDataset(SPARK.session(), rows)
        .repartition(3)
        .write()
        .parquet(folder.resolve("rows").toString());
  }

  private static DistillationRow row(String id, String completion) {
    int n = completion.length();
    int[][] ids = new int[n][];
    float[][] logprobs = new float[n][];
    float[] tail = new float[n];
    for (int i = 0; i < n; i++) {
      ids[i] = new int[] {completion.charAt(i), 200};
      logprobs[i] = new float[] {-0.25f * i, -3};
      tail[i] = -4;
    }
    return DistillationRow.builder()
        .id(id)
        .source("s")
        .prompt("q")
        .completion(completion)
        .answer(completion)
        .finishReason(DistillationRow.STOP)
        .teacher("t", null)
        .ids(new ByteTokenizer().sha256(), new int[] {'q'}, completion.chars().toArray())
        .topk(ids, logprobs, tail)
        .createdAt(Instant.parse("2026-01-02T03:04:05Z"))
        .build();
  }

  private static DistillationDataset open() throws IOException {
    return open(folder.resolve("rows"));
  }

  private static DistillationDataset open(Path rows) throws IOException {
    return new DistillationDataset.Folder(rows.toString(), new Configuration())
        .open(new ByteTokenizer(), SEQ_LEN, 0.1, DistillConfig.defaults());
  }

  @Test
  @DisplayName("rows dealt by Spark are those read here, whatever the number of ranks")
  void ranksSeeTheSameRows() throws IOException {
    DistillationDataset dataset = open();
    List<TokenRow> local = dataset.readTrain();
    assertThat(local).hasSize((int) dataset.numTrainRows());
    assertThat(dataset.readValidation()).isNotEmpty();
    RowOrder order = new RowOrder(local.size(), 5, 3);
    for (int numRanks : new int[] {1, 3}) {
      List<String> expected = new ArrayList<>();
      for (int rank = 0; rank < numRanks; rank++) {
        for (int step = 2; step <= 25; step++) {
          int of = rank;
          order
              .positionsOf(step, rank, numRanks)
              .mapToObj(at -> describe(of, at, local.get((int) order.rowAt(at))))
              .forEach(expected::add);
        }
      }
      assertThat(
              dataset
                  .forRanks(SPARK.context(), order, 2, 25, numRanks)
                  .mapPartitionsWithIndex(DistillationDatasetTest::describe, true)
                  .collect())
          .isEqualTo(expected);
    }
  }

  /** Text travels whatever the serializer. */
  private static Iterator<String> describe(int rank, Iterator<PositionedRow> rows) {
    List<String> texts = new ArrayList<>();
    rows.forEachRemaining(row -> texts.add(describe(rank, row.position(), row.row())));
    return texts.iterator();
  }

  private static String describe(int rank, long position, TokenRow row) {
    return "rank %d, position %d: row %d, %d tokens %s, teacher %d"
        .formatted(
            rank,
            position,
            row.rowId(),
            row.numTokens(),
            Arrays.toString(Arrays.copyOf(row.tokens(), row.numTokens())),
            Arrays.hashCode(row.teacher().toBytes()));
  }

  @Test
  @DisplayName("rows under data/ are a dataset once distillation.json counts them")
  void refusesAnUnfinishedDataset() throws IOException {
    Configuration hadoop = new Configuration();
    Path taught = Files.createDirectory(folder.resolve("taught"));
    Path data = Files.createDirectory(taught.resolve("data"));
    List<Path> parts = new ArrayList<>();
    try (Stream<Path> files = Files.list(folder.resolve("rows"))) {
      for (Path file : files.filter(name -> name.toString().endsWith(".parquet")).toList()) {
        parts.add(Files.copy(file, data.resolve(file.getFileName())));
      }
    }
    assertThatThrownBy(() -> new DistillationDataset.Folder(taught.toString(), hadoop))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "--data "
                + taught
                + " holds rows under data/ without distillation.json, expected a dataset that was"
                + " written to its end; run moe teach again, or name the folder data itself when"
                + " another program wrote it");
    assertThat(open(data).numTrainRows()).isEqualTo(open().numTrainRows());

    Files.writeString(
        taught.resolve("distillation.json"),
        new DistillationInfo(1, "t", null, null, 0, 2, 60, 60, 0, 0, 0, Map.of(), 60, 0).toJson());
    assertThat(open(taught).numTrainRows()).isEqualTo(open().numTrainRows());
    Files.delete(parts.get(0));
    assertThatThrownBy(() -> open(taught))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageMatching(
            "--data .*taught holds \\d\\d rows, its distillation.json says 60, expected as many;"
                + " run moe teach again");
  }

  @Test
  @DisplayName(
      "rows that no file describes are told apart by their number, and by what is held out")
  void knowsWhatItTrainsOn() throws IOException {
    Path fewer = Files.createDirectory(folder.resolve("fewer"));
    try (Stream<Path> files = Files.list(folder.resolve("rows"))) {
      Path file = files.filter(name -> name.toString().endsWith(".parquet")).findFirst().get();
      Files.copy(file, fewer.resolve("a.parquet"));
    }
    assertThat(open().identity()).isEqualTo(open().identity());
    assertThat(open().identity().descriptionSha256())
        .isNotNull()
        .isNotEqualTo(open(fewer).identity().descriptionSha256());
    assertThat(open().identity().heldOutShare()).isEqualTo(0.1);
  }

  @Test
  @DisplayName("a folder without rows, without a tokenizer or with plain token rows is refused")
  void refusesOtherFolders() throws IOException {
    Configuration hadoop = new Configuration();
    Path empty = Files.createDirectory(folder.resolve("empty"));
    assertThatThrownBy(() -> new DistillationDataset.Folder(empty.toString(), hadoop))
        .hasMessageContaining("holds no Parquet files, expected distillation rows");
    Files.writeString(empty.resolve("dataset.json"), "{}");
    assertThatThrownBy(() -> new DistillationDataset.Folder(empty.toString(), hadoop))
        .hasMessageContaining("holds token rows without a teacher");
    assertThatThrownBy(
            () ->
                new DistillationDataset.Folder(folder.resolve("rows").toString(), hadoop)
                    .tokenizer())
        .hasMessageContaining("has no tokenizer.json")
        .hasMessageContaining("give --tokenizer byte or FILE");
    Path broken = Files.createDirectory(folder.resolve("broken"));
    Files.writeString(broken.resolve("a.parquet"), "not a file of that kind");
    assertThatThrownBy(
            () ->
                new DistillationDataset.Folder(broken.toString(), hadoop)
                    .open(new ByteTokenizer(), SEQ_LEN, 0.1, DistillConfig.defaults()))
        .isInstanceOf(BadInputException.class)
        .hasMessageContaining("a.parquet cannot be read as distillation rows");
  }
}
