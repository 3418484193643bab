package io.sparkmoe.train;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.data.TokenRow;
import io.sparkmoe.model.TokenBatch;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.Scope;
import java.util.List;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

class BatchAssemblerTest {

  @Test
  @DisplayName(
      "with token value = position, target i is i + 1 and MTP target i of depth k is i + k + 1")
  void targetsAreShifted() {
    TokenRow row = row(5, 5, 0);
    try (Arena arena = new Arena("test", 1 << 20);
        Scope scope = arena.scope()) {
      TokenBatch batch = new BatchAssembler(4, 2).assemble(List.of(row), scope);
      assertThat(batch.inputs().toIntArray()).containsExactly(0, 1, 2, 3);
      assertThat(batch.targets().toIntArray()).containsExactly(1, 2, 3, 4);
      assertThat(batch.mtpTargets().get(0).toIntArray()).containsExactly(2, 3, 4);
      assertThat(batch.mtpTargets().get(1).toIntArray()).containsExactly(3, 4);
      assertThat(batch.valid().toIntArray()).containsExactly(4);
    }
  }

  @Test
  @DisplayName("padding is never a target and not valid")
  void paddingIsIgnored() {
    TokenRow row = row(5, 3, 0);
    BatchAssembler assembler = new BatchAssembler(4, 1);
    try (Arena arena = new Arena("test", 1 << 20);
        Scope scope = arena.scope()) {
      TokenBatch batch = assembler.assemble(List.of(row), scope);
      assertThat(batch.targets().toIntArray()).containsExactly(1, 2, -1, -1);
      assertThat(batch.mtpTargets().get(0).toIntArray()).containsExactly(2, -1, -1);
      assertThat(batch.valid().toIntArray()).containsExactly(3);
    }
    assertThat(assembler.countTargets(List.of(row))).containsExactly(2, 1);
  }

  @Test
  @DisplayName("an MTP target is ignored when another document begins between its sources")
  void mtpDoesNotCrossDocuments() {
    // A document begins at 2: input 1 would be paired with the embedding of token 2.
    TokenRow row = row(5, 5, 0, 2);
    try (Arena arena = new Arena("test", 1 << 20);
        Scope scope = arena.scope()) {
      TokenBatch batch = new BatchAssembler(4, 1).assemble(List.of(row), scope);
      assertThat(batch.targets().toIntArray()).containsExactly(1, 2, 3, 4);
      assertThat(batch.mtpTargets().get(0).toIntArray()).containsExactly(2, -1, 4);
    }
  }

  private static TokenRow row(int length, int numTokens, int... docStarts) {
    int[] tokens = new int[length];
    for (int i = 0; i < length; i++) {
      tokens[i] = i;
    }
    return new TokenRow(0, tokens, docStarts, numTokens, "test");
  }
}
