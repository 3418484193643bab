package io.sparkmoe.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.data.TeacherColumns;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.train.DistillConfig.Loss;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A teacher reads rows, students learn from what it stored. */
class TeacherForcingTest {

  @TempDir Path folder;

  @Test
  @DisplayName("stored distributions sum to one and give the loss that evaluation measures")
  void teachesAndIsLearntFrom() throws Exception {
    List<TokenRow> rows = TinyRun.rows(37, 1);
    new TinyRun().with("steps", 40).with("lr", 2e-2).in(folder).run();
    List<List<TokenRow>> taught;
    double loss;
    try (CheckpointReader teacher = new CheckpointStore(new LocalStore(folder)).open(40)) {
      taught =
          TeacherForcing.teach(teacher, rows, TinyRun.SEQ_LEN, new int[] {4, TinyRun.VOCAB}, 1);
      loss = CheckpointEvaluation.of(teacher, rows, TinyRun.SEQ_LEN, 1, 8).meanLoss();
    }
    double sum = 0;
    int targets = 0;
    for (int r = 0; r < rows.size(); r++) {
      TeacherColumns top = taught.get(0).get(r).teacher();
      TeacherColumns whole = taught.get(1).get(r).teacher();
      for (int p = 1; p < rows.get(r).numTokens(); p++) {
        int target = rows.get(r).tokens()[p];
        sum -= whole.logProbabilities()[p * TinyRun.VOCAB + target];
        targets++;
        double mass = Math.exp(top.tailLogMass()[p]);
        for (int j = 0; j < 4; j++) {
          float logP = top.logProbabilities()[p * 4 + j];
          assertThat(logP)
              .isEqualTo(whole.logProbabilities()[p * TinyRun.VOCAB + top.ids()[p * 4 + j]]);
          mass += Math.exp(logP);
        }
        assertThat(mass).isCloseTo(1, within(1e-5));
      }
    }
    assertThat(sum / targets).isCloseTo(loss, within(1e-5));
    ranksAgree(taught.get(0));
  }

  @Test
  @DisplayName("a teacher whose logits of a pass outgrow the limit reads them block by block")
  void readsLogitsBlockByBlock() throws Exception {
    // Logits of 8 rows take 328 MB, those of a block of 256 tokens 41 MB.
    int seqLen = 256;
    new TinyRun()
        .model("vocab_size", 40_000)
        .model("max_position_embeddings", seqLen)
        .seqLen(seqLen)
        .with("steps", 1)
        .in(folder)
        .run();
    try (CheckpointReader teacher = new CheckpointStore(new LocalStore(folder)).open(1)) {
      List<TokenRow> rows = TinyRun.cut(TinyRun.rows(8, 1), seqLen);
      List<TokenRow> taught = TeacherForcing.teach(teacher, rows, seqLen, new int[] {1}, 1).get(0);
      for (TokenRow row : taught) {
        for (int p = 1; p <= seqLen; p++) {
          TeacherColumns columns = row.teacher();
          double mass =
              Math.exp(columns.logProbabilities()[p]) + Math.exp(columns.tailLogMass()[p]);
          assertThat(mass).isCloseTo(1, within(1e-5));
        }
      }
    }
  }

  @Test
  @DisplayName("a row with more entries than an array holds is refused")
  void rowsAreCountable() throws Exception {
    new TinyRun().with("steps", 1).in(folder).run();
    try (CheckpointReader teacher = new CheckpointStore(new LocalStore(folder)).open(1)) {
      int[] topKs = {4, TinyRun.VOCAB};
      assertThatThrownBy(
              () -> TeacherForcing.teach(teacher, TinyRun.rows(1, 1), 99_999_999, topKs, 1))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage(
              "cannot keep 29 tokens at each of 100000000 positions: got 2900000000 entries of a"
                  + " row, expected at most 2147483639; lower train.seq_len");
    }
  }

  /** Law: how many ranks share a batch changes no loss. */
  private void ranksAgree(List<TokenRow> taught) throws Exception {
    List<StepMetrics> one = student(taught, 1).run().metrics();
    List<StepMetrics> three = student(taught, 3).run().metrics();
    for (int i = 0; i < one.size(); i++) {
      assertThat(three.get(i).loss()).isCloseTo(one.get(i).loss(), within(1e-5));
    }
    assertThat(one.get(one.size() - 1).mainLoss()).isLessThan(0.6 * one.get(0).mainLoss());
  }

  private static TinyRun student(List<TokenRow> taught, int ranks) {
    return new TinyRun()
        .with("steps", 30)
        .with("lr", 1e-2)
        .rows(taught)
        .distill(new DistillConfig(Loss.BUCKET, 2, 0.1, true))
        .ranks(ranks);
  }
}
