package io.sparkmoe.data;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

class StreamedRowSourceTest extends RowSourceContract {

  @Override
  protected RowSource open(
      List<TokenRow> rows, RowOrder order, int rank, int numRanks, int firstStep, int lastStep) {
    return new StreamedRowSource(
        LongStream.range(order.positionOf(firstStep), order.positionOf(lastStep + 1))
            .filter(position -> order.rankOf(position, numRanks) == rank)
            .mapToObj(
                position -> new PositionedRow(position, rows.get((int) order.rowAt(position))))
            .iterator(),
        order,
        rank,
        numRanks);
  }

  @Test
  void stepsMustAscend() {
    RowSource source = open(rows(4), new RowOrder(4, 2, 1), 0, 1, 1, 4);
    source.rowsOf(2);
    assertThatThrownBy(() -> source.rowsOf(2))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("rows are streamed in step order: step 2 asked after step 2");
  }

  @Test
  void aMissingRowIsNamed() {
    RowSource late = open(rows(8), new RowOrder(8, 2, 1), 0, 1, 3, 4);
    assertThatThrownBy(() -> late.rowsOf(1))
        .hasMessageContaining("position 0 is missing")
        .hasMessageContaining("is 4");
    RowSource shortStream = open(rows(8), new RowOrder(8, 2, 1), 0, 1, 1, 2);
    assertThatThrownBy(() -> shortStream.rowsOf(3)).hasMessageContaining("the stream has ended");
  }
}
