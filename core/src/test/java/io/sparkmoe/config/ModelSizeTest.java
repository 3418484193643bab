package io.sparkmoe.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.model.ParameterCount;
import io.sparkmoe.model.ParameterCount.Use;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.train.RankMemory;
import io.sparkmoe.train.RunConfig;
import java.util.List;
import org.junit.jupiter.api.Test;

class ModelSizeTest {

  /**
   * Figures of the DeepSeek-V3 report's shape: README_WEIGHTS of the release and the formulae of
   * its parts.
   */
  @Test
  void deepSeekV3CountsAsPublished() {
    ParameterCount count = ParameterCount.of(preset("deepseek-v3").model());

    assertThat(count.total()).isEqualTo(671_026_419_200L);
    assertThat(count.routed()).isEqualTo(653_908_770_816L);
    assertThat(count.nonRouted()).isEqualTo(17_117_648_384L);
    assertThat(count.main().get(Use.EMBEDDING))
        .isEqualTo(926_679_040L)
        .isEqualTo(count.main().get(Use.HEAD));
    assertThat(count.main().get(Use.DENSE_FFN)).isEqualTo(3 * 396_361_728L);
    assertThat(count.main().get(Use.GATES)).isEqualTo(58 * 256L * 7169);
    assertThat(count.active()).isEqualTo(37_552_297_472L);
    assertThat(count.activeWithoutEmbedding()).isEqualTo(36_625_618_432L);
    assertThat(count.activeWithoutEmbeddingAndHead()).isEqualTo(35_698_939_392L);
    assertThat(count.mtpTotal()).isEqualTo(11_610_068_224L);
  }

  @Test
  void benchSmallHasTheParametersOfTheComparison() {
    assertThat(ParameterCount.of(preset("bench-small").model()).total())
        .isBetween(81_000_000L, 82_000_000L);
  }

  @Test
  void oneExecutorSendsNothingToOthersAndHoldsAll() {
    RunConfig tiny = preset("tiny");
    WireVolume wire = WireVolume.of(tiny, 1);
    RankMemory rank = RankMemory.ofRank(tiny, 1);
    RankMemory driver = RankMemory.ofDriver(tiny, 1);
    ParameterCount count = ParameterCount.of(tiny.model());
    long gates = count.main().get(Use.GATES) + count.mtp().get(Use.GATES);

    assertThat(wire.expertBytesPerToken()).isZero();
    assertThat(wire.gradientBytesPerStep()).isZero();
    assertThat(rank.weightBytes()).isEqualTo(4 * (count.total() + count.mtpTotal() - gates));
    assertThat(rank.stateBytes()).isEqualTo(4 * rank.weightBytes());
    assertThat(driver.stateBytes()).isEqualTo(16 * gates);
  }

  @Test
  void memoryOfExpertsShrinksWithTheExecutors() {
    RunConfig quickstart = preset("quickstart");
    long one = RankMemory.ofRank(quickstart, 1).weightBytes();
    long two = RankMemory.ofRank(quickstart, 2).weightBytes();
    ParameterCount count = ParameterCount.of(quickstart.model());
    long routed = count.routed() + count.mtp().get(Use.ROUTED_EXPERTS);

    assertThat(one - two).isEqualTo(2 * routed);
  }

  /** With one expert per rank every chosen expert is on another one: K ranks. */
  @Test
  void ranksReachedAreAtMostTheExpertsOfAToken() {
    assertThat(new ExpertPlacement(256, 256).ranksReached(8)).isCloseTo(8, within(1e-9));
    assertThat(new ExpertPlacement(256, 1).ranksReached(8)).isCloseTo(1, within(1e-9));
    assertThat(new ExpertPlacement(256, 2).ranksReached(8)).isCloseTo(2, within(0.01));
    assertThat(new ExpertPlacement(2, 4).ranksReached(2)).isCloseTo(2, within(1e-9));
  }

  /** FP8 down and BF16 back, 8 destinations, 58 layers: 2 * 8 * (7,224 + 14,336) * 58 bytes. */
  @Test
  void wireBytesFollowTheFormula() {
    RunConfig v3 = preset("deepseek-v3");
    int mtpAndMain = 59;
    double expected = 2.0 * mtpAndMain * (7_224 + 14_336) * 8 * 255 / 256;
    assertThat(WireVolume.of(v3, 256).expertBytesPerToken()).isCloseTo(expected, within(1.0));
  }

  /** Layers of the main model are entered once more, the MTP module is not. */
  @Test
  void layersThatAreComputedAgainSendTheirTokensAgain() {
    double kept = WireVolume.of(preset("deepseek-v3"), 256).expertBytesPerToken();
    double again =
        WireVolume.of(preset("deepseek-v3", "train.recompute=layer"), 256).expertBytesPerToken();
    assertThat(again / kept).isCloseTo((3.0 * 58 + 2) / (2 * 59), within(1e-9));
    RunConfig dense = preset("dense-small", "train.recompute=layer");
    assertThat(WireVolume.of(dense, 2).expertBytesPerToken()).isZero();
  }

  private static RunConfig preset(String name, String... settings) {
    return new ConfigResolver().preset(name).set(List.of(settings)).resolve().toRunConfig();
  }
}
