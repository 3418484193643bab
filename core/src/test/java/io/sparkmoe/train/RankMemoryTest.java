package io.sparkmoe.train;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.model.LossScales;
import io.sparkmoe.model.TokenBatch;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.Phase;
import io.sparkmoe.parallel.PhaseClock;
import io.sparkmoe.parallel.RankThreads;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.Scope;
import java.util.List;
import org.assertj.core.data.Percentage;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The estimate against the arena of a real pass. */
class RankMemoryTest {

  private static final String[] SMALL = {
    "train.batch_sequences=4",
    "train.seq_len=64",
    "model.vocab_size=512",
    "cluster.gemm_backend=openblas"
  };

  @ParameterizedTest
  @CsvSource({
    "tiny,fp32,openblas",
    "quickstart,fp32,openblas",
    "bench-small,fp32,openblas",
    "tiny,fp8,openblas",
    "quickstart,fp8,openblas",
    "bench-small,fp8,openblas",
    "bench-small,fp8,onednn"
  })
  @DisplayName("one rank's arena holds what the estimate says")
  void oneRank(String preset, String precision, String gemmBackend) throws Exception {
    RunConfig config =
        config(
            preset,
            "cluster.gate_placement=executor",
            "cluster.gemm_backend=" + gemmBackend,
            "train.precision=" + precision);
    long owned = RankThreads.run(1, end -> ownedAfterSteps(config, end)).get(0);
    assertThat((double) owned).isCloseTo(owned(config, 1), Percentage.withPercentage(4));
  }

  @ParameterizedTest
  @ValueSource(strings = {"fp32", "fp8"})
  @DisplayName("computing layers again takes less memory, as the estimate says")
  void recompute(String precision) throws Exception {
    RunConfig config =
        config(
            "quickstart",
            "cluster.gate_placement=executor",
            "train.recompute=layer",
            "train.precision=" + precision);
    long owned = RankThreads.run(1, end -> ownedAfterSteps(config, end)).get(0);
    assertThat((double) owned).isCloseTo(owned(config, 1), Percentage.withPercentage(4));
    RunConfig keeping =
        config("quickstart", "cluster.gate_placement=executor", "train.precision=" + precision);
    assertThat(RankMemory.ofRank(config, 1).passBytes())
        .isLessThan(RankMemory.ofRank(keeping, 1).passBytes() * 3 / 4);
  }

  @Test
  @DisplayName("with ranks that exchange tokens the estimate holds for even routing")
  void twoRanks() throws Exception {
    RunConfig config =
        config(
            "quickstart",
            "cluster.gate_placement=executor",
            "cluster.dispatch_wire=fp8",
            "cluster.gradient_wire=fp8");
    List<Long> owned = RankThreads.run(2, end -> ownedAfterSteps(config, end));
    for (long ofRank : owned) {
      assertThat((double) ofRank).isCloseTo(owned(config, 2), Percentage.withPercentage(10));
    }
  }

  @Test
  @DisplayName("frames that wait are those of one layer's tokens or of the gradients")
  void waitingFrames() {
    RunConfig config = config("quickstart");
    assertThat(RankMemory.waitingFrameBytes(config, 1)).isZero();
    long gradients = RankMemory.waitingFrameBytes(config, 2);
    // 4 rows of 64 tokens are too few to outgrow the gradients of all that is replicated; of 1,024
    // rows, 1.5 copies to spare times half of the tokens of both ranks wait, 128 floats each.
    assertThat(gradients).isBetween(1L << 20, 64L << 20);
    long tokens =
        RankMemory.waitingFrameBytes(config("quickstart", "train.batch_sequences=1024"), 2);
    assertThat((double) tokens)
        .isCloseTo(1.5 * 512 * 64 * 2 / 2 * 128 * 4, Percentage.withPercentage(2));
  }

  @Test
  @DisplayName("an arena of the limit holds a pass that the estimate is too low for")
  void theLimitIsAboveTheEstimate() {
    for (int ranks : new int[] {1, 2, 8}) {
      RankMemory memory = RankMemory.ofRank(config("quickstart"), ranks);
      assertThat(memory.limitBytes()).isGreaterThan(memory.expectedBytes());
    }
  }

  /** Bytes that the arena is expected to own, without its allowances. */
  private static double owned(RunConfig config, int numRanks) {
    return RankMemory.ofRank(config, numRanks).expectedBytes();
  }

  private static long ownedAfterSteps(RunConfig config, Communicator end) {
    try (ComputeEngine engine = ComputeEngine.open("memory", config.cluster().gemmBackend(), 1);
        Arena arena =
            new Arena("rank " + end.rank(), RankMemory.ofRank(config, end.size()).limitBytes());
        RankState state =
            new RankState(config, end, engine.kernels(), arena, new PhaseClock(Phase.CONTROL))) {
      state.parameters().initialize(1);
      SyntheticRows rows =
          new SyntheticRows(config.train(), config.model().vocabSize(), end.rank(), end.size());
      BatchAssembler assembler =
          new BatchAssembler(config.train().seqLen(), config.model().numMtpModules());
      double[] mtp = new double[config.model().numMtpModules()];
      java.util.Arrays.fill(mtp, 1e-4);
      for (int step = 1; step <= 2; step++) {
        List<TokenRow> own = rows.rowsOf(step);
        try (Scope scope = arena.scope()) {
          TokenBatch batch = assembler.assemble(own, scope);
          state.model().train(step, 0, batch, new LossScales(1e-3, mtp, 1e-4), arena);
        }
        state.reduceGradients(step);
        state.resetGate();
      }
      return arena.ownedBytes();
    }
  }

  private static RunConfig config(String preset, String... settings) {
    List<String> all = new java.util.ArrayList<>(List.of(SMALL));
    all.addAll(List.of(settings));
    return new ConfigResolver().preset(preset).set(all).resolve().toRunConfig();
  }
}
