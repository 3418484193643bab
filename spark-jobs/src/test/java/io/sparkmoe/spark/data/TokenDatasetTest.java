package io.sparkmoe.spark.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.data.DatasetInfo;
import io.sparkmoe.data.PositionedRow;
import io.sparkmoe.data.RowOrder;
import io.sparkmoe.data.RowPiece;
import io.sparkmoe.data.RowSource;
import io.sparkmoe.data.StreamedRowSource;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.spark.job.PrepareJob;
import io.sparkmoe.spark.job.PrepareOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.BarrierTaskContext;
import org.apache.spark.api.java.JavaRDD;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;
import scala.Tuple2;

class TokenDatasetTest {

  @RegisterExtension static final LocalSpark SPARK = new LocalSpark();

  private static final int SEQ_LEN = 16;

  @TempDir static Path folder;

  private static TokenDataset dataset;
  private static List<TokenRow> rows;

  @BeforeAll
  static void prepare() throws IOException {
    Path input = folder.resolve("text.txt");
    Files.writeString(input, "The quick brown fox jumps over the lazy dog.\n".repeat(23));
    String out = folder.resolve("dataset").toString();
    new PrepareJob(
            SPARK.session(),
            new PrepareOptions(
                List.of(input.toString()),
                DocumentFormat.TEXT,
                PrepareOptions.DEFAULT_TEXT_COLUMN,
                SourceRule.single(),
                "byte",
                SEQ_LEN,
                0.1,
                out))
        .run();
    dataset = TokenDataset.open(out, new Configuration());
    rows = dataset.readLocally(TokenDataset.TRAIN);
  }

  @Test
  void everyRankGetsExactlyTheRowsOfItsSteps() throws IOException {
    RowOrder order = new RowOrder(rows.size(), 7, 5);
    int firstStep = 3;
    int lastStep = 20; // more than two epochs
    for (int numRanks : new int[] {1, 2, 3}) {
      List<List<PositionedRow>> dealt = collect(order, firstStep, lastStep, numRanks);
      assertThat(dealt).hasSize(numRanks);
      long consumed = dealt.stream().mapToLong(List::size).sum();
      assertThat(consumed).isEqualTo((lastStep - firstStep + 1) * 7L);
      for (int rank = 0; rank < numRanks; rank++) {
        RowSource streamed =
            new StreamedRowSource(dealt.get(rank).iterator(), order, rank, numRanks);
        for (int step = firstStep; step <= lastStep; step++) {
          List<TokenRow> batch = streamed.rowsOf(step);
          long position = order.positionOf(step) + order.firstSlot(rank, numRanks);
          assertThat(batch)
              .hasSize(order.firstSlot(rank + 1, numRanks) - order.firstSlot(rank, numRanks));
          for (TokenRow row : batch) {
            assertThat(row)
                .usingRecursiveComparison()
                .isEqualTo(rows.get((int) order.rowAt(position++)));
          }
        }
      }
    }
  }

  /** What each rank gets. Training never moves these records, and Kryo could not: as bytes. */
  private static List<List<PositionedRow>> collect(
      RowOrder order, int firstStep, int lastStep, int numRanks) throws IOException {
    List<List<Tuple2<Long, byte[]>>> bytes =
        dataset
            .forRanks(SPARK.context(), order, firstStep, lastStep, numRanks)
            .map(row -> new Tuple2<>(row.position(), RowPiece.of(row.row()).toBytes()))
            .glom()
            .collect();
    int endOfTextId = dataset.info().endOfTextId();
    return bytes.stream()
        .map(
            rank ->
                rank.stream()
                    .map(
                        row ->
                            new PositionedRow(
                                row._1,
                                RowPiece.assemble(
                                    List.of(RowPiece.fromBytes(row._2)), SEQ_LEN, endOfTextId)))
                    .toList())
        .toList();
  }

  @Test
  void theRowsMayStandInFrontOfABarrier() throws IOException {
    JavaRDD<PositionedRow> dealt =
        dataset.forRanks(SPARK.context(), new RowOrder(rows.size(), 4, 5), 1, 2, 2);
    List<Integer> ranks =
        dealt
            .rdd()
            .barrier()
            .mapPartitions(
                new CountPartition(), false, scala.reflect.ClassTag$.MODULE$.apply(Integer.class))
            .toJavaRDD()
            .collect();
    assertThat(ranks).containsExactly(4, 4);
  }

  private static final class CountPartition
      extends scala.runtime.AbstractFunction1<
          scala.collection.Iterator<PositionedRow>, scala.collection.Iterator<Integer>>
      implements java.io.Serializable {
    @Override
    public scala.collection.Iterator<Integer> apply(scala.collection.Iterator<PositionedRow> rows) {
      BarrierTaskContext.get();
      int size = 0;
      while (rows.hasNext()) {
        rows.next();
        size++;
      }
      return scala.collection.Iterator$.MODULE$.single(size);
    }
  }

  @Test
  void aConfigThatDoesNotFitIsRefusedInOneSentence() {
    dataset.requireFits(SEQ_LEN, 257);
    assertThatThrownBy(() -> dataset.requireFits(32, 257))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("was made with seq_len 16, the config says train.seq_len=32");
    assertThatThrownBy(() -> dataset.requireFits(SEQ_LEN, 256))
        .hasMessageContaining("has token ids up to 256, the config says model.vocab_size=256");
  }

  @Test
  void anOrderOfAnotherDatasetIsRefused() {
    RowOrder other = new RowOrder(rows.size() + 1L, 4, 5);
    assertThatThrownBy(() -> dataset.forRanks(SPARK.context(), other, 1, 2, 2))
        .hasMessageContaining(
            "has " + rows.size() + " training rows, the row order expects " + other.numRows());
  }

  @Test
  void anUnfinishedFolderIsNotADataset() throws IOException {
    Path unfinished = copyWithout("dataset.json");
    assertThatThrownBy(() -> TokenDataset.open(unfinished.toString(), new Configuration()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("is not a finished dataset, it has no dataset.json; run moe prepare");
    Path absent = folder.resolve("absent");
    assertThatThrownBy(() -> TokenDataset.open(absent.toString(), new Configuration()))
        .hasMessageContaining("is not a finished dataset");
  }

  @Test
  void aMissingOrDamagedFileIsNamed() throws IOException {
    Path without = copyWithout("train");
    assertThatThrownBy(
            () ->
                TokenDataset.open(without.toString(), new Configuration())
                    .readLocally(TokenDataset.TRAIN))
        .hasMessageContaining("holds 0 rows, dataset.json says rows 0 to " + (rows.size() - 1));
    Files.createDirectories(without.resolve("train"));
    Files.writeString(without.resolve("train/part-0.parquet"), "PAR1 but no more");
    assertThatThrownBy(
            () ->
                TokenDataset.open(without.toString(), new Configuration())
                    .readLocally(TokenDataset.TRAIN))
        .isInstanceOf(BadInputException.class)
        .hasMessageContaining("part-0.parquet cannot be read as token rows");
  }

  @Test
  void missingFilesAreNoticedBeforeRowsAreDealt() throws IOException {
    Path part = copyWithout("nothing").resolve("train");
    Path whole = part.getParent();
    try (var files = Files.list(part)) {
      part = files.filter(file -> file.toString().endsWith(".parquet")).findFirst().orElseThrow();
    }
    Files.write(part, Arrays.copyOf(Files.readAllBytes(part), 100));
    Path damaged = part;
    assertThatThrownBy(() -> deal(whole))
        .isInstanceOf(BadInputException.class)
        .hasMessageContaining(damaged.getFileName() + " cannot be read as token rows");
    Files.delete(part);
    Path without = copyWithout("train");
    for (Path incomplete : List.of(whole, without)) {
      assertThatThrownBy(() -> deal(incomplete))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageMatching(
              "dataset \\S+/train holds \\d+ rows, dataset.json says rows 0 to "
                  + (rows.size() - 1)
                  + "; run moe prepare again");
    }
  }

  private static void deal(Path location) throws IOException {
    RowOrder order = new RowOrder(rows.size(), 4, 5);
    TokenDataset.open(location.toString(), new Configuration())
        .forRanks(SPARK.context(), order, 1, 2, 2);
  }

  @Test
  void aNewerFormatOrAnotherTokenizerIsRefused() throws IOException {
    Path newer = copyWithout("nothing");
    String json = Files.readString(newer.resolve("dataset.json"));
    Files.writeString(
        newer.resolve("dataset.json"),
        json.replace("\"formatVersion\" : 1", "\"formatVersion\" : 2"));
    assertThatThrownBy(() -> TokenDataset.open(newer.toString(), new Configuration()))
        .hasMessageContaining(
            "format version 2, this version reads up to " + DatasetInfo.FORMAT_VERSION);
    Files.writeString(
        newer.resolve("dataset.json"), json.replace(dataset.info().tokenizerSha256(), "00ff"));
    TokenDataset other = TokenDataset.open(newer.toString(), new Configuration());
    assertThatThrownBy(other::openTokenizer).hasMessageContaining("its dataset.json says 00ff");
  }

  /** A copy of the dataset without one of its files or folders. */
  private static Path copyWithout(String name) throws IOException {
    Path copy = Files.createTempDirectory(folder, "copy");
    Path from = Path.of(java.net.URI.create(dataset.location()));
    List<Path> paths = new ArrayList<>();
    try (var walk = Files.walk(from)) {
      walk.filter(path -> !path.startsWith(from.resolve(name))).forEach(paths::add);
    }
    for (Path path : paths) {
      Path target = copy.resolve(from.relativize(path).toString());
      if (Files.isDirectory(path)) {
        Files.createDirectories(target);
      } else if (!path.getFileName().toString().startsWith(".")) {
        Files.copy(path, target);
      }
    }
    return copy;
  }
}
