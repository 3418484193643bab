package io.sparkmoe.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RowOrderTest {

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 5, 7, 13, 64, 65, 207, 1025, 4097})
  void everyEpochVisitsEveryRowOnce(long numRows) {
    RowOrder order = new RowOrder(numRows, 4, 17);
    for (int epoch = 0; epoch < 3; epoch++) {
      Set<Long> seen = new HashSet<>();
      for (long i = 0; i < numRows; i++) {
        long row = order.rowAt(epoch * numRows + i);
        assertThat(row).isBetween(0L, numRows - 1);
        seen.add(row);
      }
      assertThat(seen).hasSize((int) numRows);
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 3, 64, 207})
  void positionOfUndoesRowAt(long numRows) {
    RowOrder order = new RowOrder(numRows, 4, 5);
    for (long position = 0; position < 3 * numRows; position++) {
      assertThat(order.positionOf(position / numRows, order.rowAt(position))).isEqualTo(position);
    }
  }

  @Test
  void everyBatchTakesOneRowOfEachStratum() {
    RowOrder order = new RowOrder(207, 10, 3);
    for (int step = 1; step <= 20; step++) {
      Set<Long> strata = new HashSet<>();
      for (int slot = 0; slot < 10; slot++) {
        // Seven strata of 21 rows, three of 20.
        long row = order.rowAt(order.positionOf(step) + slot);
        strata.add(row < 147 ? row / 21 : 7 + (row - 147) / 20);
      }
      assertThat(strata).hasSize(10);
    }
  }

  @Test
  void epochsAndSeedsGiveDifferentOrders() {
    RowOrder order = new RowOrder(1000, 8, 1);
    RowOrder otherSeed = new RowOrder(1000, 8, 2);
    int sameAsOtherEpoch = 0;
    int sameAsOtherSeed = 0;
    for (long i = 0; i < 1000; i++) {
      sameAsOtherEpoch += order.rowAt(i) == order.rowAt(1000 + i) ? 1 : 0;
      sameAsOtherSeed += order.rowAt(i) == otherSeed.rowAt(i) ? 1 : 0;
    }
    // Two random permutations agree in one place on average, of each of the eight strata.
    assertThat(sameAsOtherEpoch).isLessThan(30);
    assertThat(sameAsOtherSeed).isLessThan(30);
  }

  @Test
  void slicesOfOneToEightRanksCoverTheBatchOnceEach() {
    for (int batch : new int[] {1, 3, 8, 13, 16}) {
      RowOrder order = new RowOrder(100, batch, 1);
      for (int numRanks = 1; numRanks <= 8; numRanks++) {
        assertThat(order.firstSlot(0, numRanks)).isZero();
        assertThat(order.firstSlot(numRanks, numRanks)).isEqualTo(batch);
        for (int rank = 0; rank < numRanks; rank++) {
          int size = order.firstSlot(rank + 1, numRanks) - order.firstSlot(rank, numRanks);
          assertThat(size).isBetween(batch / numRanks, (batch + numRanks - 1) / numRanks);
          for (int slot = order.firstSlot(rank, numRanks);
              slot < order.firstSlot(rank + 1, numRanks);
              slot++) {
            assertThat(order.rankOf(order.positionOf(4) + slot, numRanks)).isEqualTo(rank);
          }
        }
      }
    }
  }

  @Test
  void anEmptyDatasetIsRefused() {
    assertThatThrownBy(() -> new RowOrder(0, 4, 1))
        .hasMessageContaining("at least one row")
        .hasMessageContaining("0");
  }
}
