package io.sparkmoe.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Token value = position in the stream, but for end-of-text, so that an off-by-one shows. */
class RowPackerTest {

  private static final long SEED = Long.getLong("moe.seed", 1);
  private static final int END = -1;

  @Test
  void rowsShareOneTokenAndTheLastIsPadded() {
    // Stream: 0 1 2 E | 4 5 6 7 8 E
    List<TokenRow> rows = pack(List.of(3, 5), 4, 10);
    assertThat(rows).hasSize(3);
    assertRow(rows.get(0), 10, new int[] {0, 1, 2, END, 4}, new int[] {0, 4}, 5);
    assertRow(rows.get(1), 11, new int[] {4, 5, 6, 7, 8}, new int[] {0}, 5);
    assertRow(rows.get(2), 12, new int[] {8, END, END, END, END}, new int[] {}, 2);
  }

  @Test
  void aStreamThatFillsItsRowsExactlyHasNoRowWithoutTarget() {
    // Stream: 0 1 2 3 4 5 6 7 E
    List<TokenRow> rows = pack(List.of(8), 4, 0);
    assertThat(rows).hasSize(2);
    assertRow(rows.get(1), 1, new int[] {4, 5, 6, 7, END}, new int[] {}, 5);
  }

  /** Law: every token but the first is a target exactly once, whatever the lengths. */
  @Test
  void noTargetIsLostOrRepeated() {
    Random random = new Random(SEED);
    for (int round = 0; round < 50; round++) {
      int seqLen = 2 + random.nextInt(9);
      List<Integer> lengths = random.ints(1 + random.nextInt(12), 1, 25).boxed().toList();
      List<TokenRow> rows = pack(lengths, seqLen, 0);
      int total = lengths.stream().mapToInt(n -> n + 1).sum();
      List<Integer> targets = new ArrayList<>();
      for (TokenRow row : rows) {
        for (int i = 1; i < row.numTokens(); i++) {
          targets.add(row.tokens()[i]);
        }
      }
      int[] stream = IntStream.of(stream(lengths)).toArray();
      List<Integer> expected = IntStream.range(1, total).map(i -> stream[i]).boxed().toList();
      assertThat(targets).as("seed %d, round %d", SEED, round).isEqualTo(expected);
    }
  }

  /** Law: rows do not depend on where the stream is split into parts. */
  @Test
  void partsPackedApartGiveTheSameRows() {
    Random random = new Random(SEED + 1);
    for (int round = 0; round < 50; round++) {
      int seqLen = 2 + random.nextInt(6);
      List<Integer> lengths = random.ints(8, 1, 15).boxed().toList();
      List<TokenRow> whole = pack(lengths, seqLen, 3);
      for (int split = 1; split < lengths.size(); split++) {
        List<TokenRow> parts = packInParts(lengths, seqLen, 3, split);
        assertThat(parts)
            .as("seed %d, round %d, split %d", SEED, round, split)
            .hasSameSizeAs(whole);
        for (int i = 0; i < whole.size(); i++) {
          TokenRow row = whole.get(i);
          assertRow(parts.get(i), row.rowId(), row.tokens(), row.docStarts(), row.numTokens());
        }
      }
    }
  }

  @Test
  void bytesBringAPieceBack() {
    RowPiece piece = new RowPiece(1L << 40, 3, new int[] {7, 1 << 30, 0}, new int[] {4}, "ελ");
    RowPiece back = RowPiece.fromBytes(piece.toBytes());
    assertThat(back).usingRecursiveComparison().isEqualTo(piece);
  }

  private static List<TokenRow> pack(List<Integer> lengths, int seqLen, long firstRowId) {
    return packInParts(lengths, seqLen, firstRowId, lengths.size());
  }

  /** Packs documents [0, split) and [split, n) by two packers. */
  private static List<TokenRow> packInParts(
      List<Integer> lengths, int seqLen, long firstRowId, int split) {
    int total = lengths.stream().mapToInt(n -> n + 1).sum();
    SourceStream stream = new SourceStream("s", firstRowId, total);
    List<RowPiece> pieces = new ArrayList<>();
    RowPacker packer = new RowPacker(stream, seqLen, END, 0, pieces::add);
    int position = 0;
    for (int doc = 0; doc < lengths.size(); doc++) {
      if (doc == split) {
        packer.flush();
        packer = new RowPacker(stream, seqLen, END, position, pieces::add);
      }
      packer.add(IntStream.range(position, position + lengths.get(doc)).toArray());
      position += lengths.get(doc) + 1;
    }
    packer.flush();
    Map<Long, List<RowPiece>> byRow =
        pieces.stream()
            .collect(Collectors.groupingBy(RowPiece::rowId, TreeMap::new, Collectors.toList()));
    List<TokenRow> rows =
        byRow.values().stream()
            .map(row -> RowPiece.assemble(row, seqLen, END))
            .collect(Collectors.toList());
    rows.sort(Comparator.comparingLong(TokenRow::rowId));
    assertThat(rows).hasSize((int) stream.numRows(seqLen));
    return rows;
  }

  private static int[] stream(List<Integer> lengths) {
    List<Integer> stream = new ArrayList<>();
    for (int length : lengths) {
      int begin = stream.size();
      IntStream.range(begin, begin + length).forEach(stream::add);
      stream.add(END);
    }
    return stream.stream().mapToInt(Integer::intValue).toArray();
  }

  private static void assertRow(
      TokenRow row, long rowId, int[] tokens, int[] docStarts, int numTokens) {
    assertThat(row.rowId()).isEqualTo(rowId);
    assertThat(row.tokens()).isEqualTo(tokens);
    assertThat(row.docStarts()).isEqualTo(docStarts);
    assertThat(row.numTokens()).isEqualTo(numTokens);
    assertThat(row.source()).isEqualTo("s");
  }
}
