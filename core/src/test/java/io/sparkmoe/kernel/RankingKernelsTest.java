package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.kernel.KernelTwins.Fill;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

/** The fast ranking of a teacher's tokens against its definition. */
class RankingKernelsTest {

  private static final int ROWS = 29;

  private final KernelTwins twins = new KernelTwins();

  @AfterEach
  void close() {
    twins.close();
  }

  @Test
  @DisplayName("top-k, tail and given token agree over awkward vocabularies, ties and ignored rows")
  void twinsAgree() {
    for (int c : new int[] {1, 3, 7, 13, 64, 207, 702, 1025}) {
      for (int k : new int[] {1, Math.min(8, c), Math.min(64, c)}) {
        for (Fill fill : Fill.values()) {
          Tensor targets = twins.indices(0, c, ROWS);
          targets.setInt(3, -1);
          twins.agree(
              fill + " of " + c + " tokens, top " + k,
              c,
              (kernels, t) ->
                  kernels.rankTokens(new TeacherTargets(t[0], t[1], t[2]), t[3], t[4], t[5], c),
              twins.unwritten(DType.I32, ROWS, k),
              twins.unwritten(ROWS, k),
              twins.unwritten(ROWS),
              twins.unwritten(ROWS),
              twins.filled(fill, ROWS, c),
              targets);
        }
      }
    }
  }

  @Test
  @DisplayName("what belongs to no token is never ranked and counts as tail")
  void paddingIsTail() {
    for (int c : new int[] {3, 13, 64, 207}) {
      for (int numTokens : new int[] {1, c / 2, c - 1}) {
        for (int k : new int[] {1, Math.max(1, numTokens - 2), numTokens}) {
          // The likeliest of all belongs to no token.
          Tensor logits = twins.mixed(ROWS, c);
          logits.setFloat(2 * c + c - 1, 90);
          twins.agree(
              numTokens + " tokens of " + c + ", top " + k,
              c,
              (kernels, t) -> {
                kernels.rankTokens(
                    new TeacherTargets(t[0], t[1], t[2]), t[3], t[4], t[5], numTokens);
                for (int i = 0; i < t[0].size(); i++) {
                  assertThat(t[0].getInt(i)).isLessThan(numTokens);
                }
                assertThat(t[2].get(2)).isCloseTo(0, within(1e-6));
              },
              twins.unwritten(DType.I32, ROWS, k),
              twins.unwritten(ROWS, k),
              twins.unwritten(ROWS),
              twins.unwritten(ROWS),
              logits,
              twins.indices(0, numTokens, ROWS));
        }
      }
    }
  }

  @Test
  @DisplayName("a tail far below float's 1 - sum is exact")
  void smallTailsAreExact() {
    Tensor logits = twins.filled(Fill.ZERO, 1, 5);
    logits.setFloat(2, 60);
    for (Kernels kernels : twins.both()) {
      Tensor tail = twins.unwritten(1);
      TeacherTargets ranked =
          new TeacherTargets(twins.unwritten(DType.I32, 1, 1), twins.unwritten(1, 1), tail);
      kernels.rankTokens(ranked, twins.unwritten(1), logits, twins.indices(0, 5, 1), 5);

      assertThat(ranked.ids().getInt(0)).isEqualTo(2);
      assertThat(tail.getFloat(0)).isCloseTo((float) (Math.log(4) - 60), within(1e-5f));
    }
  }

  @Test
  void moreThanTheVocabularyIsRefused() {
    TeacherTargets ranked =
        new TeacherTargets(
            twins.unwritten(DType.I32, 2, 4), twins.unwritten(2, 4), twins.unwritten(2));
    assertThatThrownBy(
            () ->
                twins
                    .both()
                    .get(1)
                    .rankTokens(
                        ranked, twins.unwritten(2), twins.mixed(2, 3), twins.indices(0, 3, 2), 3))
        .hasMessage("top-k must be at most the number of tokens 3, got 4");
  }
}
