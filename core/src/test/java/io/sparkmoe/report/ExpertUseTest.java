package io.sparkmoe.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class ExpertUseTest {

  private static final double TINY = 1e-12;

  @Test
  void expertsThatNoTwoSourcesShareTellTheSource() {
    ExpertUse use = use(new long[][] {{5, 5, 0, 0}, {0, 0, 3, 7}});
    assertThat(use.sourceEntropyBits()).isEqualTo(1, within(TINY));
    assertThat(use.mutualInformationBits()).isEqualTo(1, within(TINY));
    assertThat(use.specialisation()).isEqualTo(1, within(TINY));
  }

  @Test
  void expertsThatAllSourcesUseAlikeTellNothing() {
    ExpertUse use = use(new long[][] {{10, 20, 30}, {1, 2, 3}});
    assertThat(use.mutualInformationBits()).isEqualTo(0, within(TINY));
    assertThat(use.specialisation()).isEqualTo(0, within(TINY));
  }

  @Test
  void knownTable() {
    // Joint (3, 1; 1, 3) / 8: I = 2 - H(3/8, 1/8, 1/8, 3/8) = 0.188721875540867 bits.
    ExpertUse use = use(new long[][] {{3, 1}, {1, 3}});
    assertThat(use.mutualInformationBits()).isEqualTo(0.188721875540867, within(1e-12));
    assertThat(use.lift(0, 0)).isEqualTo(1.5, within(TINY));
    assertThat(use.share(0, 0)).isEqualTo(0.75, within(TINY));
    assertThat(use.sourceShare(0)).isEqualTo(0.5, within(TINY));
    // (2 - 1)(2 - 1) / (2 * 8 * ln 2).
    assertThat(use.chanceBits()).isEqualTo(1 / (16 * Math.log(2)), within(TINY));
  }

  @Test
  void chanceLevelIsWhatIndependentCountsShow() {
    SplittableRandom random = new SplittableRandom(Long.getLong("moe.seed", 7));
    int sources = 21;
    int experts = 256;
    long[][] counts = new long[sources][experts];
    for (int i = 0; i < 100_000; i++) {
      counts[random.nextInt(sources)][random.nextInt(experts)]++;
    }
    ExpertUse use = new ExpertUse("layer", List.of("abcdefghijklmnopqrstu".split("")), counts);
    assertThat(use.mutualInformationBits() / use.chanceBits()).isBetween(0.9, 1.1);
  }

  @Test
  void oneSourceHasNoSpecialisation() {
    ExpertUse use = use(new long[][] {{3, 9}});
    assertThat(use.specialisation()).isZero();
    assertThat(use.loadMaxOverMean()).isEqualTo(1.5, within(TINY));
  }

  @Test
  void deadExpertsAreCountedAndComeLast() {
    ExpertUse use = use(new long[][] {{0, 4, 0, 1}, {2, 1, 0, 1}});
    assertThat(use.deadExperts()).isEqualTo(1);
    assertThat(use.expertsByLeaning()).containsExactly(1, 0, 3, 2);
  }

  @Test
  void aSourceLeansOnWhatSetsItApartNotOnWhatAllUse() {
    ExpertUse use = use(new long[][] {{50, 30, 20, 0}, {50, 0, 20, 30}});
    assertThat(use.leaningExperts(0, 4)).containsExactly(1);
    assertThat(use.leaningExperts(1, 4)).containsExactly(3);
    ExpertUse two = use(new long[][] {{10, 40, 50}, {80, 10, 10}});
    assertThat(two.leaningExperts(0, 4)).containsExactly(2, 1);
    assertThat(two.leaningExperts(0, 1)).containsExactly(2);
  }

  @Test
  void tablesComeInAlphabeticalOrder() {
    ExpertUse use = ExpertUse.of("layer", Map.of("sv", new long[] {1}, "de", new long[] {2}));
    assertThat(use.sources()).containsExactly("de", "sv");
    assertThat(use.sourceShare(0)).isEqualTo(2 / 3.0, within(TINY));
  }

  @Test
  void anEmptyTableIsRefused() {
    assertThatThrownBy(() -> use(new long[][] {{0, 0}}))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("all zero, expected at least one token");
    assertThatThrownBy(() -> new ExpertUse("layer", List.of(), new long[0][]))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("0 rows");
  }

  private static ExpertUse use(long[][] counts) {
    return new ExpertUse("layer", List.of("a", "b", "c").subList(0, counts.length), counts);
  }
}
