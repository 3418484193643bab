package io.sparkmoe.infer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.kernel.ReferenceDecodeKernels;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class SamplerTest {

  private static final long SEED = Long.getLong("moe.seed", 20254);

  private final Arena arena = new Arena("test", 1 << 20);
  private Tensor logits;

  @AfterEach
  void close() {
    logits.close();
    arena.close();
  }

  private Sampler sampler(float... values) {
    logits = arena.allocate(DType.F32, 1, values.length);
    logits.copyFrom(values);
    return new Sampler(new ReferenceDecodeKernels(), values.length);
  }

  private float[] distribution(Sampler sampler, SamplingOptions options) {
    float[] p = new float[logits.cols()];
    sampler.distribution(p, logits, 0, options);
    return p;
  }

  private static float log(double p) {
    return (float) Math.log(p);
  }

  @Test
  void greedyTakesTheLikeliestAndItsLogProbabilityIsOfTheFullSoftmax() {
    Sampler sampler = sampler(log(0.2), log(0.5), log(0.3));
    Sampler.Choice choice = sampler.choose(logits, 0, SamplingOptions.GREEDY, 0);
    assertThat(choice.token()).isEqualTo(1);
    assertThat(choice.logProbability()).isCloseTo(log(0.5), within(1e-6f));
  }

  @Test
  void logProbabilitiesDoNotDependOnTheTemperatureOrTheCut() {
    Sampler sampler = sampler(log(0.2), log(0.5), log(0.3));
    Sampler.Choice choice = sampler.choose(logits, 0, new SamplingOptions(0.1, 1, 1, 3), 0);
    assertThat(choice.token()).isEqualTo(1);
    assertThat(choice.logProbability()).isCloseTo(log(0.5), within(1e-6f));
  }

  @Test
  void topKKeepsTheLikeliestAndTheLowestIndexAmongEquals() {
    Sampler sampler = sampler(log(0.2), log(0.3), log(0.3), log(0.2));
    assertThat(distribution(sampler, new SamplingOptions(1, 3, 1, 0)))
        .containsExactly(new float[] {0.25f, 0.375f, 0.375f, 0}, within(1e-6f));
  }

  @Test
  void topPKeepsTheLikeliestUntilTheyReachIt() {
    Sampler sampler = sampler(log(0.1), log(0.6), log(0.25), log(0.05));
    assertThat(distribution(sampler, new SamplingOptions(1, 0, 0.5, 0)))
        .containsExactly(new float[] {0, 1, 0, 0}, within(1e-6f));
    assertThat(distribution(sampler, new SamplingOptions(1, 0, 0.8, 0)))
        .containsExactly(new float[] {0, 0.6f / 0.85f, 0.25f / 0.85f, 0}, within(1e-6f));
  }

  @Test
  void topPCountsWithinWhatTopKLeaves() {
    // Of 0.4, 0.3, 0.3 the first two leave 4/7 and 3/7: the first alone has less than 0.6 of them.
    Sampler sampler = sampler(log(0.3), log(0.4), log(0.3));
    assertThat(distribution(sampler, new SamplingOptions(1, 2, 0.6, 0)))
        .containsExactly(new float[] {3 / 7f, 4 / 7f, 0}, within(1e-6f));
    assertThat(distribution(sampler, new SamplingOptions(1, 2, 0.5, 0)))
        .containsExactly(new float[] {0, 1, 0}, within(1e-6f));
  }

  @Test
  void theTemperatureSharpensTheDistribution() {
    Sampler sampler = sampler(log(0.2), log(0.8));
    assertThat(distribution(sampler, new SamplingOptions(0.5, 0, 1, 0)))
        .containsExactly(new float[] {0.04f / 0.68f, 0.64f / 0.68f}, within(1e-6f));
  }

  /** Law: tokens are drawn in the proportions of the distribution (chi-square, 3 degrees). */
  @Test
  void tokensAreDrawnInTheProportionsOfTheDistribution() {
    double[] p = {0.1, 0.2, 0.3, 0.4};
    Sampler sampler = sampler(log(0.1), log(0.2), log(0.3), log(0.4));
    int draws = 20_000;
    int[] counts = new int[p.length];
    for (int position = 0; position < draws; position++) {
      counts[sampler.choose(logits, 0, new SamplingOptions(1, 0, 1, SEED), position).token()]++;
    }
    double chiSquare = 0;
    for (int i = 0; i < p.length; i++) {
      double expected = draws * p[i];
      chiSquare += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    assertThat(chiSquare).as("seed %d", SEED).isLessThan(16.3);
  }

  @Test
  void aChoiceDependsOnSeedAndPositionAlone() {
    Random random = new Random(SEED);
    float[] values = new float[50];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    Sampler sampler = sampler(values);
    SamplingOptions options = new SamplingOptions(1, 20, 0.9, SEED);
    Sampler.Choice first = sampler.choose(logits, 0, options, 5);
    sampler.choose(logits, 0, options, 6);
    assertThat(sampler.choose(logits, 0, options, 5)).isEqualTo(first);
  }

  @Test
  void logitsThatAreNoNumbersAreRefused() {
    Sampler sampler = sampler(1, Float.NaN, 2);
    assertThatThrownBy(() -> sampler.choose(logits, 0, SamplingOptions.GREEDY, 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("the model's logits are not numbers: got log-sum-exp NaN");
  }

  @Test
  void optionsOutOfRangeAreRefused() {
    logits = arena.allocate(DType.F32, 1);
    assertThatThrownBy(() -> new SamplingOptions(-1, 0, 1, 0))
        .hasMessage("temperature must be >= 0 (0 = the likeliest token), got -1.0");
    assertThatThrownBy(() -> new SamplingOptions(1, -1, 1, 0))
        .hasMessage("top-k must be >= 0 (0 = all tokens), got -1");
    assertThatThrownBy(() -> new SamplingOptions(1, 0, 0, 0))
        .hasMessage("top-p must be in (0, 1], got 0.0");
  }
}
