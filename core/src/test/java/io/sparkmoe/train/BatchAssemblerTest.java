package io.sparkmoe.train;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.data.TeacherColumns;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.kernel.DistillationLoss.Divergence;
import io.sparkmoe.kernel.TeacherTargets;
import io.sparkmoe.model.TokenBatch;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.train.DistillConfig.Loss;
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
      assertThat(assembler.countTargets(List.of(row))).containsExactly(2, 1);
      assertThat(batch.targets().toIntArray()).containsExactly(1, 2, -1, -1);
      assertThat(batch.mtpTargets().get(0).toIntArray()).containsExactly(2, -1, -1);
      assertThat(batch.valid().toIntArray()).containsExactly(3);
    }
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

  @Test
  @DisplayName(
      "a teacher's position p speaks of target p - 1; prompts are not learnt, by MTP neither")
  void teachersAreAlignedWithTargets() {
    // Token p has the one entry 10 + p, the prompt is tokens 0 and 1.
    boolean[] learned = {false, false, true, true, true};
    TeacherColumns teacher =
        new TeacherColumns(
            learned,
            2,
            new int[] {-1, -1, -1, -1, 12, -1, 13, 3, 14, -1},
            new float[] {0, 0, 0, 0, -2, 0, -3, -9, -4, 0},
            new float[] {0, 0, -0.2f, -0.3f, -0.4f});
    TokenRow plain = row(5, 5, 0);
    TokenRow taught = new TokenRow(1, plain.tokens(), new int[0], 5, "test", teacher);
    DistillConfig distill = DistillConfig.defaults();
    BatchAssembler assembler = new BatchAssembler(4, 1, distill);
    try (Arena arena = new Arena("test", 1 << 20);
        Scope scope = arena.scope()) {
      TokenBatch batch = assembler.assemble(List.of(plain, taught), scope);
      assertThat(batch.targets().toIntArray()).containsExactly(1, 2, 3, 4, -1, 2, 3, 4);
      assertThat(batch.mtpTargets().get(0).toIntArray()).containsExactly(2, 3, 4, 2, 3, 4);
      TeacherTargets targets = batch.distillation().teacher();
      assertThat(targets.ids().toIntArray())
          .containsExactly(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 12, -1, 13, 3, 14, -1);
      assertThat(targets.rows(6, 2).logProbabilities().toFloatArray())
          .containsExactly(-3, -9, -4, 0);
      assertThat(targets.tailLogMass().toFloatArray())
          .containsExactly(0, 0, 0, 0, 0, -0.2f, -0.3f, -0.4f);
      assertThat(batch.distillation().loss().divergence()).isEqualTo(Divergence.BUCKET);
      assertThat(assembler.assemble(List.of(plain), scope).distillation()).isNull();
      assertThat(assembler.countTargets(List.of(taught))).containsExactly(3, 3);
      assertThat(assembler.countTargets(List.of(taught, taught))).containsExactly(6, 6);
      BatchAssembler text = new BatchAssembler(4, 1, distill.withLoss(Loss.CROSS_ENTROPY));
      assertThat(text.assemble(List.of(taught), scope).distillation()).isNull();
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
