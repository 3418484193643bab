package io.sparkmoe.parallel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class GradientReducerTest {

  private static final long SEED = Long.getLong("moe.seed", 42);

  /** The fast kernels where they exist; one thread holds nothing that wants closing. */
  private static Kernels kernels(DType type) {
    return type == DType.F64
        ? new ReferenceKernels()
        : ComputeEngine.open("test", "reference", 1).kernels();
  }

  /** Of the gradients: a scalar, less than a tile, odd sizes, several buckets. */
  private static final int[] SIZES = {1, 100, 129, 3001};

  private static final int BUCKET = 1000;

  /** Gradients of one rank at one step, all in a row. */
  private interface Source {
    float at(int rank, int step, int index);
  }

  /**
   * Independent noise over a fixed direction, with magnitudes from 1e-3 to 1e3 of the scale by
   * parameter.
   */
  private static Source noisy(double scale) {
    return (rank, step, index) -> {
      Random random = new Random(((SEED * 31 + rank) * 31 + step) * 1_000_003 + index);
      random.nextInt();
      double magnitude = Math.exp(Math.sin(index) * 3.5);
      return (float) (scale * magnitude * (0.3 * Math.cos(index * 7.0) + random.nextGaussian()));
    };
  }

  private static int total() {
    return Arrays.stream(SIZES).sum();
  }

  private static List<Tensor> allocate(DType type, Scope scope) {
    List<Tensor> gradients = new ArrayList<>();
    for (int size : SIZES) {
      gradients.add(scope.allocate(type, size));
    }
    return gradients;
  }

  private static void fill(List<Tensor> gradients, Source source, int rank, int step) {
    int index = 0;
    for (Tensor gradient : gradients) {
      for (int i = 0; i < gradient.size(); i++) {
        gradient.set(i, source.at(rank, step, index++));
      }
    }
  }

  private static double[] flatten(List<Tensor> gradients) {
    return gradients.stream()
        .flatMapToDouble(tensor -> IntStream.range(0, tensor.size()).mapToDouble(tensor::get))
        .toArray();
  }

  /** The reduced gradients [rank][step] of so many steps, from step 1. */
  private static List<double[][]> reduce(int ranks, Wire wire, DType type, int steps, Source source)
      throws Exception {
    return RankThreads.run(
        ranks,
        end -> {
          try (Arena arena = new Arena("rank " + end.rank(), 1 << 26);
              Scope scope = arena.scope()) {
            List<Tensor> gradients = allocate(type, scope);
            double[][] reduced = new double[steps][];
            try (GradientReducer reducer =
                new GradientReducer(
                    end, wire, gradients, kernels(gradients.get(0).type()), arena, BUCKET, 0)) {
              for (int step = 1; step <= steps; step++) {
                fill(gradients, source, end.rank(), step);
                reducer.reduce(step);
                reduced[step - 1] = flatten(gradients);
              }
            }
            return reduced;
          }
        });
  }

  /** The FP32 sum in rank order. */
  private static double[] sum(int ranks, Source source, int step) {
    double[] sum = new double[total()];
    for (int i = 0; i < sum.length; i++) {
      float value = 0;
      for (int rank = 0; rank < ranks; rank++) {
        value += source.at(rank, step, i);
      }
      sum[i] = value;
    }
    return sum;
  }

  private static double norm(double[] x) {
    return Math.sqrt(dot(x, x));
  }

  private static double dot(double[] x, double[] y) {
    double sum = 0;
    for (int i = 0; i < x.length; i++) {
      sum += x[i] * y[i];
    }
    return sum;
  }

  private static double[] minus(double[] x, double[] y) {
    double[] difference = new double[x.length];
    Arrays.setAll(difference, i -> x[i] - y[i]);
    return difference;
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 8})
  void theFp32WireGivesTheSumInRankOrderBitForBit(int ranks) throws Exception {
    Source source = noisy(1);
    for (double[][] reduced : reduce(ranks, Wire.FP32, DType.F32, 2, source)) {
      assertThat(reduced[0]).containsExactly(sum(ranks, source, 1));
      assertThat(reduced[1]).containsExactly(sum(ranks, source, 2));
    }
  }

  @Test
  void doublesAreSummedAsDoubles() throws Exception {
    Source source = noisy(1);
    double[] expected = new double[total()];
    for (int i = 0; i < expected.length; i++) {
      expected[i] = (double) source.at(0, 1, i) + source.at(1, 1, i);
    }
    assertThat(reduce(2, Wire.FP32, DType.F64, 1, source).get(1)[0]).containsExactly(expected);
    assertThatThrownBy(() -> reduce(2, Wire.BF16, DType.F64, 1, source))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("got F64");
  }

  @ParameterizedTest
  @EnumSource
  void everyRankEndsWithTheSameBits(Wire wire) throws Exception {
    for (int ranks : new int[] {2, 3, 8}) {
      List<double[][]> reduced = reduce(ranks, wire, DType.F32, 3, noisy(1));
      for (double[][] other : reduced) {
        assertThat(other).isDeepEqualTo(reduced.get(0));
      }
    }
  }

  @Test
  void oneRankRoundsNothingAndSendsNothing() throws Exception {
    Source source = noisy(1);
    assertThat(reduce(1, Wire.FP8, DType.F32, 1, source).get(0)[0])
        .containsExactly(sum(1, source, 1));
    RankThreads.run(
        1,
        end -> {
          try (Arena arena = new Arena("rank", 1 << 26);
              Scope scope = arena.scope();
              GradientReducer reducer =
                  new GradientReducer(
                      end, Wire.FP8, allocate(DType.F32, scope), new ReferenceKernels(), arena)) {
            reducer.reduce(1);
            assertThat(reducer.residuals()).isEmpty();
            assertThat(end.sentBytes()).containsOnly(0);
            return null;
          }
        });
  }

  // E4M3 rounds with a relative error of 2^-4 / sqrt(3) or less: energy 6e-4 of the signal's at
  // each of two roundings,
  // times 4/3 by the feedback, which makes a cosine of 0.9992; BF16 has 2^-8 instead.
  @ParameterizedTest
  @CsvSource({"2,FP8,0.999", "3,FP8,0.999", "8,FP8,0.999", "3,BF16,0.99999"})
  void theReducedGradientPointsWhereTheSumPoints(int ranks, Wire wire, double atLeast)
      throws Exception {
    Source source = noisy(1e-4);
    double[][] reduced = reduce(ranks, wire, DType.F32, 12, source).get(0);
    for (int step : new int[] {1, 6, 12}) { // without residual, and with a settled one
      double[] exact = sum(ranks, source, step);
      double cosine = dot(reduced[step - 1], exact) / norm(reduced[step - 1]) / norm(exact);
      assertThat(cosine).as("seed %d, step %d", SEED, step).isGreaterThanOrEqualTo(atLeast);
    }
  }

  // Law: what is lost at one step comes back at later ones. The hardest gradient is the one that
  // never changes: its
  // rounding errors all have the same sign.
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void errorFeedbackKeepsTheSumOfFiftySteps(boolean constant) throws Exception {
    int ranks = 2;
    int steps = 50;
    Source noisy = noisy(1);
    Source source = constant ? (rank, step, index) -> noisy.at(rank, 0, index) : noisy;
    double[][] reduced = reduce(ranks, Wire.FP8, DType.F32, steps, source).get(0);
    double[] sumOfErrors = new double[total()];
    double singleErrors = 0;
    for (int step = 1; step <= steps; step++) {
      double[] error = minus(reduced[step - 1], sum(ranks, source, step));
      Arrays.setAll(sumOfErrors, i -> sumOfErrors[i] + error[i]);
      int now = step;
      Source alone = (rank, first, index) -> source.at(rank, now, index);
      // A single error is that of a reduction that knows nothing of the steps before.
      singleErrors +=
          constant && step > 1
              ? singleErrors / (step - 1)
              : norm(
                  minus(
                      reduce(ranks, Wire.FP8, DType.F32, 1, alone).get(0)[0],
                      sum(ranks, source, step)));
    }
    assertThat(singleErrors).isPositive();
    assertThat(norm(sumOfErrors)).as("seed %d", SEED).isLessThanOrEqualTo(singleErrors / 10);
  }

  // A tile of tiny gradients is as precise as any other: no lower clamp of its scale.
  @Test
  void tinyGradientsSurvive() throws Exception {
    Source source = (rank, step, index) -> (float) (1e-9 * Math.cos(index + rank));
    double[] exact = sum(2, source, 1);
    double[] reduced = reduce(2, Wire.FP8, DType.F32, 1, source).get(0)[0];
    assertThat(norm(minus(reduced, exact)) / norm(exact)).isCloseTo(0, within(0.0625));
  }

  @ParameterizedTest
  @EnumSource
  void bytesSentFollowTheFormula(Wire wire) throws Exception {
    for (int ranks : new int[] {2, 3}) {
      long frames = 0;
      long payload = 0;
      for (int size : SIZES) {
        for (int offset = 0; offset < size; offset += BUCKET) {
          int length = Math.min(BUCKET, size - offset);
          int tiles = (length + 127) / 128;
          for (int rank = 0; rank < ranks; rank++) {
            int start = Math.min(length, tiles * rank / ranks * 128);
            int shard = Math.min(length, tiles * (rank + 1) / ranks * 128) - start;
            // Each shard goes from P - 1 ranks to its owner and from the owner to P - 1 ranks.
            frames += shard > 0 ? 2 * (ranks - 1) : 0;
            payload +=
                2L
                    * (ranks - 1)
                    * switch (wire) {
                      case FP32 -> 4 * shard;
                      case BF16 -> 2 * shard;
                      case FP8 -> shard + (shard + 127) / 128;
                    };
          }
        }
      }
      long sent = 0;
      try (LocalCommunicator.Group group = LocalCommunicator.group(ranks, Duration.ofSeconds(30))) {
        RankThreads.run(
            group,
            ranks,
            end -> {
              try (Arena arena = new Arena("rank", 1 << 26);
                  Scope scope = arena.scope()) {
                List<Tensor> gradients = allocate(DType.F32, scope);
                fill(gradients, noisy(1), end.rank(), 1);
                try (GradientReducer reducer =
                    new GradientReducer(
                        end, wire, gradients, kernels(gradients.get(0).type()), arena, BUCKET, 0)) {
                  reducer.reduce(1);
                }
                return null;
              }
            });
        for (int rank = 0; rank < ranks; rank++) {
          sent += group.rank(rank).sentBytes()[FrameKind.GRADIENTS.ordinal()];
        }
      }
      assertThat(sent).as("%d ranks", ranks).isEqualTo(frames * FrameCodec.HEADER_BYTES + payload);
    }
  }

  @Test
  void residualsResumeARunWithTheSameBits() throws Exception {
    Source source = noisy(1);
    double[][] unbroken = reduce(3, Wire.FP8, DType.F32, 4, source).get(0);
    RankThreads.run(
        3,
        end -> {
          try (Arena arena = new Arena("rank", 1 << 26);
              Scope scope = arena.scope()) {
            List<Tensor> gradients = allocate(DType.F32, scope);
            List<Tensor> saved = new ArrayList<>();
            for (int from = 1; from <= 4; from += 2) {
              try (GradientReducer reducer =
                  new GradientReducer(
                      end,
                      Wire.FP8,
                      gradients,
                      kernels(gradients.get(0).type()),
                      arena,
                      BUCKET,
                      0)) {
                for (int i = 0; i < saved.size(); i++) {
                  reducer.residuals().get(i).copyFrom(saved.get(i));
                }
                for (int step = from; step < from + 2; step++) {
                  fill(gradients, source, end.rank(), step);
                  reducer.reduce(step);
                }
                for (Tensor residual : reducer.residuals()) {
                  Tensor copy = scope.allocate(residual.type(), residual.shape());
                  copy.copyFrom(residual);
                  saved.add(copy);
                }
              }
            }
            assertThat(flatten(gradients)).containsExactly(unbroken[3]);
            return null;
          }
        });
  }

  @ParameterizedTest
  @EnumSource
  void aValueThatIsNotFiniteIsSeenByEveryRank(Wire wire) throws Exception {
    Source clean = noisy(1);
    for (int index : new int[] {0, 2000}) {
      Source broken =
          (rank, step, i) ->
              rank == 1 && i == index ? Float.POSITIVE_INFINITY : clean.at(rank, step, i);
      for (double[][] reduced : reduce(3, wire, DType.F32, 1, broken)) {
        assertThat(Double.isFinite(reduced[0][index])).isFalse();
        assertThat(Arrays.stream(reduced[0]).filter(value -> !Double.isFinite(value)).count())
            .isEqualTo(1);
      }
    }
  }

  @Test
  void aShardOfAnotherSizeIsRefusedWithItsSender() throws Exception {
    try (LocalCommunicator.Group group = LocalCommunicator.group(2, Duration.ofSeconds(10));
        Arena arena = new Arena("rank", 1 << 26);
        Scope scope = arena.scope()) {
      Tensor gradient = scope.zeros(DType.F32, 1000);
      group.rank(1).send(0, new FrameKey(FrameKind.GRADIENTS, 5, 0, 0), ByteBuffer.allocate(3));
      try (GradientReducer reducer =
          new GradientReducer(
              group.rank(0), Wire.FP8, List.of(gradient), new ReferenceKernels(), arena)) {
        assertThatThrownBy(() -> reducer.reduce(5))
            .isInstanceOf(CorruptFrameException.class)
            .hasMessageContaining(group.rank(0).describe(1))
            .hasMessageContaining("gradients of step 5")
            .hasMessageContaining("got 3");
      }
    }
  }
}
