package io.sparkmoe.data;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

/**
 * What every {@link RowSource} keeps. Token value = position in the dataset's text, so that an
 * off-by-one shows.
 */
public abstract class RowSourceContract {

  private static final int SEQ_LEN = 4;

  /** A source over {@code rows} that can be asked for steps firstStep..lastStep. */
  protected abstract RowSource open(
      List<TokenRow> rows, RowOrder order, int rank, int numRanks, int firstStep, int lastStep);

  /** Rows 0..numRows-1 of a text whose token at position p is p. */
  protected static List<TokenRow> rows(int numRows) {
    List<TokenRow> rows = new ArrayList<>();
    for (int row = 0; row < numRows; row++) {
      int[] tokens = new int[SEQ_LEN + 1];
      for (int i = 0; i < tokens.length; i++) {
        tokens[i] = row * SEQ_LEN + i;
      }
      rows.add(new TokenRow(row, tokens, new int[] {row % SEQ_LEN}, tokens.length, "s" + row % 3));
    }
    return rows;
  }

  @Test
  void ranksTogetherSeeTheGlobalBatchInOrder() {
    List<TokenRow> rows = rows(23);
    RowOrder order = new RowOrder(rows.size(), 5, 3);
    int lastStep = 12; // more than two epochs
    for (int numRanks : new int[] {1, 2, 3, 8}) {
      List<RowSource> sources = new ArrayList<>();
      for (int rank = 0; rank < numRanks; rank++) {
        sources.add(open(rows, order, rank, numRanks, 1, lastStep));
      }
      for (int step = 1; step <= lastStep; step++) {
        List<Integer> firstTokens = new ArrayList<>();
        for (RowSource source : sources) {
          source.rowsOf(step).forEach(row -> firstTokens.add(row.tokens()[0]));
        }
        int[] expected =
            LongStream.range(order.positionOf(step), order.positionOf(step + 1))
                .mapToInt(position -> (int) order.rowAt(position) * SEQ_LEN)
                .toArray();
        assertThat(firstTokens)
            .as("step %d on %d ranks", step, numRanks)
            .containsExactly(box(expected));
      }
    }
  }

  @Test
  void rowsArriveWhole() {
    List<TokenRow> rows = rows(7);
    RowOrder order = new RowOrder(7, 3, 1);
    List<TokenRow> batch = open(rows, order, 0, 1, 1, 1).rowsOf(1);
    assertThat(batch).hasSize(3);
    for (TokenRow row : batch) {
      TokenRow original = rows.get((int) row.rowId());
      assertThat(row.tokens()).isEqualTo(original.tokens());
      assertThat(row.docStarts()).isEqualTo(original.docStarts());
      assertThat(row.numTokens()).isEqualTo(original.numTokens());
      assertThat(row.source()).isEqualTo(original.source());
    }
  }

  @Test
  void aResumedRunStartsAtALaterStep() {
    List<TokenRow> rows = rows(11);
    RowOrder order = new RowOrder(11, 4, 9);
    RowSource whole = open(rows, order, 1, 2, 1, 6);
    RowSource resumed = open(rows, order, 1, 2, 1, 6);
    for (int step = 1; step <= 3; step++) {
      whole.rowsOf(step);
    }
    for (int step = 4; step <= 6; step++) {
      assertThat(ids(resumed.rowsOf(step))).isEqualTo(ids(whole.rowsOf(step)));
    }
  }

  private static List<Long> ids(List<TokenRow> rows) {
    return rows.stream().map(TokenRow::rowId).toList();
  }

  private static Integer[] box(int[] values) {
    Integer[] boxed = new Integer[values.length];
    for (int i = 0; i < values.length; i++) {
      boxed[i] = values[i];
    }
    return boxed;
  }
}
