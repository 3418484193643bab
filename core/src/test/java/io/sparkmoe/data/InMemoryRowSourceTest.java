package io.sparkmoe.data;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.junit.jupiter.api.Test;

class InMemoryRowSourceTest extends RowSourceContract {

  @Override
  protected RowSource open(
      List<TokenRow> rows, RowOrder order, int rank, int numRanks, int firstStep, int lastStep) {
    return new InMemoryRowSource(rows, order, rank, numRanks);
  }

  @Test
  void anOrderOfAnotherDatasetIsRefused() {
    assertThatThrownBy(() -> new InMemoryRowSource(rows(3), new RowOrder(4, 1, 1), 0, 1))
        .hasMessage("dataset holds 3 rows, the row order expects 4");
  }
}
