package io.sparkmoe.distill.dl4j;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class DistributionTest {

  private static final long SEED = Long.getLong("moe.seed", 20255);

  /** Ascending, the order that putting each in its place takes longest for. */
  private static float[] ascending(int size) {
    float[] p = new float[size];
    for (int id = 0; id < size; id++) {
      p[id] = 2f * (id + 1) / size / (size + 1);
    }
    return p;
  }

  /** A step for every pair of a million tokens would take minutes. */
  @Test
  void aTokenOfAHugeVocabularyIsDrawnAndRankedWithoutAStepForEveryPair() {
    int size = 1 << 20;
    Distribution p = new Distribution(ascending(size));
    SplittableRandom random = new SplittableRandom(SEED);
    assertThat(p.sample(1, 1, random)).isBetween(0, size - 1);
    // The upper half in number has three quarters of the mass.
    assertThat(p.sample(1, 0.75, random)).isBetween(size / 2 - 1, size - 1);
    assertThat(p.mostProbable(size)).startsWith(size - 1, size - 2).endsWith(1, 0);
  }

  @Test
  void rankingManyAndFewAgreesAndTheLowestIdWinsAmongEquals() {
    Random random = new Random(SEED);
    float[] p = new float[700];
    for (int id = 0; id < p.length; id++) {
      p[id] = random.nextInt(20) / 7000f;
    }
    Distribution distribution = new Distribution(p);
    int[] expected =
        IntStream.range(0, p.length)
            .boxed()
            .sorted((a, b) -> p[a] == p[b] ? a - b : Float.compare(p[b], p[a]))
            .mapToInt(Integer::intValue)
            .toArray();
    for (int k : new int[] {1, 5, 128, 129, 700}) {
      assertThat(distribution.mostProbable(k))
          .as("seed %d", SEED)
          .containsExactly(Arrays.copyOf(expected, k));
    }
  }

  /** Law: tokens are drawn in the proportions of what top-p leaves (chi-square, 3 degrees). */
  @Test
  void tokensAreDrawnInTheProportionsOfWhatTopPLeaves() {
    float[] p = {0.1f, 0.4f, 0.3f, 0.2f};
    requireProportions(p, 1, new double[] {0.1, 0.4, 0.3, 0.2});
    requireProportions(p, 0.85, new double[] {0, 4 / 9.0, 3 / 9.0, 2 / 9.0});
    requireProportions(p, 0.5, new double[] {0, 4 / 7.0, 3 / 7.0, 0});
  }

  private static void requireProportions(float[] p, double topP, double[] expected) {
    Distribution distribution = new Distribution(p);
    SplittableRandom random = new SplittableRandom(SEED);
    int draws = 20_000;
    int[] counts = new int[p.length];
    for (int i = 0; i < draws; i++) {
      counts[distribution.sample(1, topP, random)]++;
    }
    double chiSquare = 0;
    for (int id = 0; id < p.length; id++) {
      double mean = draws * expected[id];
      if (mean == 0) {
        assertThat(counts[id]).isZero();
      } else {
        chiSquare += (counts[id] - mean) * (counts[id] - mean) / mean;
      }
    }
    assertThat(chiSquare).as("top-p %s, seed %d", topP, SEED).isLessThan(16.3);
  }
}
