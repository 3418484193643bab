package io.sparkmoe.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.moe.ExchangeDispatcher;
import io.sparkmoe.moe.LocalGate;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.parallel.RankThreads;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Law: experts and sequences spread over ranks give the losses and gradients of one rank that has
 * them all. Eight experts on three ranks do not divide evenly, and of three sequences the last rank
 * gets none.
 */
class ManyRanksTest {

  private static final long SEED = Long.getLong("moe.seed", 42);
  private static final ModelConfig CONFIG = TinyModel.config(Map.of("num_nextn_predict_layers", 1));
  private static final LossScales SCALES = new LossScales(0.1, new double[] {0.03}, 0.01);
  private static final int[] VALID = {6, 5, 6};

  private final int[][] rows = rows();

  private static int[][] rows() {
    SplittableRandom random = new SplittableRandom(SEED);
    int[][] rows = new int[VALID.length][];
    for (int b = 0; b < rows.length; b++) {
      rows[b] = random.ints(7, 0, CONFIG.vocabSize()).toArray();
    }
    return rows;
  }

  /** What a rank ends with. */
  private record Result(
      Losses trained, Losses evaluated, Map<String, float[]> gradients, long[] load) {}

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3})
  void ranksTogetherAreOneRank(int ranks) throws Exception {
    Result one = oneRank();
    int perRank = ranks == 1 ? 3 : 2;
    List<Result> results =
        RankThreads.run(
            ranks,
            end -> {
              int from = Math.min(end.rank() * perRank, rows.length);
              int to = Math.min(from + perRank, rows.length);
              return rank(
                  end, Arrays.copyOfRange(rows, from, to), Arrays.copyOfRange(VALID, from, to));
            });
    assertThat(results.stream().mapToDouble(r -> r.trained.mainSum()).sum())
        .isCloseTo(one.trained.mainSum(), within(1e-5));
    assertThat(results.stream().mapToDouble(r -> r.trained.balanceSum()).sum())
        .isCloseTo(one.trained.balanceSum(), within(1e-5));
    assertThat(results.stream().mapToDouble(r -> r.evaluated.mtpSum()[0]).sum())
        .isCloseTo(one.evaluated.mtpSum()[0], within(1e-5));
    assertThat(results).allSatisfy(r -> assertThat(r.trained.droppedTokens()).isZero());
    long[] load = new long[CONFIG.numRoutedExperts()];
    results.forEach(r -> Arrays.setAll(load, e -> load[e] + r.load[e]));
    assertThat(load).isEqualTo(one.load);
    one.gradients.forEach((name, expected) -> assertSumClose(name, results, expected));
  }

  private static void assertSumClose(String name, List<Result> results, float[] expected) {
    double largest = 0;
    for (float value : expected) {
      largest = Math.max(largest, Math.abs(value));
    }
    for (int i = 0; i < expected.length; i++) {
      double sum = 0;
      for (Result result : results) {
        float[] gradient = result.gradients.get(name);
        sum += gradient == null ? 0 : gradient[i];
      }
      assertThat(sum).as("%s[%d]", name, i).isCloseTo(expected[i], within(1e-5 * largest + 1e-9));
    }
  }

  private Result oneRank() {
    try (TinyModel tiny = new TinyModel(CONFIG, DType.F32, new ReferenceKernels())) {
      tiny.parameters.initialize(SEED);
      TokenBatch batch = TinyModel.batch(rows, VALID, 1, tiny.scope);
      Losses evaluated = tiny.model.evaluate(1, 1, batch, tiny.arena);
      Losses trained = tiny.model.train(1, 0, batch, SCALES, tiny.arena);
      return new Result(trained, evaluated, gradients(tiny.parameters), tiny.gate.load(1));
    }
  }

  private static Result rank(Communicator end, int[][] rows, int[] valid) {
    Kernels kernels = new ReferenceKernels();
    ExpertPlacement placement = new ExpertPlacement(CONFIG.numRoutedExperts(), end.size());
    try (Arena arena = new Arena("rank " + end.rank(), 1 << 28);
        Parameters parameters =
            Parameters.allocate(
                CONFIG, placement, end.rank(), EnumSet.allOf(Part.class), DType.F32, true, arena);
        Scope scope = arena.scope()) {
      parameters.initialize(SEED);
      LocalGate gate = TinyModel.gate(parameters, kernels);
      ExchangeDispatcher dispatcher =
          new ExchangeDispatcher(end, placement, kernels, Wire.FP32, Wire.FP32);
      LanguageModel model = new LanguageModel(parameters, gate, dispatcher, kernels);
      TokenBatch batch = TinyModel.batch(rows, valid, 1, 6, scope);
      Losses trained = model.train(1, 0, batch, SCALES, arena);
      Losses evaluated = model.evaluate(1, 1, batch, arena);
      return new Result(trained, evaluated, gradients(parameters), gate.load(1));
    }
  }

  private static Map<String, float[]> gradients(Parameters parameters) {
    Map<String, float[]> gradients = new TreeMap<>();
    for (Parameter parameter : parameters.all()) {
      if (parameter.gradient() != null) {
        gradients.put(parameter.name(), parameter.gradient().toFloatArray());
      }
    }
    return gradients;
  }
}
