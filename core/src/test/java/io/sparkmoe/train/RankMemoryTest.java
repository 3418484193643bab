package io.sparkmoe.train;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.config.ConfigResolver;
import io.sparkmoe.data.TeacherColumns;
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
import io.sparkmoe.train.CoordinatorSettings.Resume;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
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
  @DisplayName("a pass holds what a teacher says about its own rows, as the estimate says")
  void teacher() throws Exception {
    RunConfig config = config("tiny", "cluster.gate_placement=executor");
    TeacherColumns columns = teacherOf(config);
    long owned = RankThreads.run(1, end -> ownedAfterSteps(config, end, columns)).get(0);
    RankMemory memory = RankMemory.ofRank(config, 1, columns.topK());
    assertThat((double) owned).isCloseTo(memory.expectedBytes(), Percentage.withPercentage(4));
    long targets = config.train().tokensPerStep() * (8L * columns.topK() + 4);
    assertThat(memory.passBytes() - RankMemory.ofRank(config, 1).passBytes()).isEqualTo(targets);
    assertThat(memory.limitBytes()).isGreaterThan(RankMemory.ofRank(config, 1).limitBytes());
  }

  @Test
  @DisplayName("what a teacher says about a whole step need not fit into the limit")
  void teacherOfManyPasses() throws Exception {
    RunConfig config =
        config(
            "tiny",
            "cluster.gate_placement=executor",
            "train.steps=1",
            "train.seq_len=128",
            "train.batch_sequences=640",
            "train.micro_batch_sequences=8");
    TeacherColumns columns = teacherOf(config);
    long limit = RankMemory.ofRank(config, 1).limitBytes();
    assertThat(config.train().tokensPerStep() * 8 * columns.topK()).isGreaterThan(limit);
    RunResult result =
        LocalTraining.run(
            config,
            1,
            rank ->
                new WorkerSettings(
                    step -> taught(config, rank, 1, step, columns), List.of(), null, 1, limit),
            new CoordinatorSettings(null, Resume.never(), DataIdentity.UNKNOWN, 0, 1, 64L << 20),
            new RunListener() {});
    assertThat(result.metrics()).hasSize(1);
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

  /** All of a row's vocabulary, equally probable. */
  private static TeacherColumns teacherOf(RunConfig config) {
    int positions = config.train().seqLen() + 1;
    int vocabulary = config.model().vocabSize();
    boolean[] learned = new boolean[positions];
    Arrays.fill(learned, true);
    float[] logProbabilities = new float[positions * vocabulary];
    Arrays.fill(logProbabilities, (float) -Math.log(vocabulary));
    float[] tail = new float[positions];
    Arrays.fill(tail, Float.NEGATIVE_INFINITY);
    int[] ids = IntStream.range(0, positions * vocabulary).map(i -> i % vocabulary).toArray();
    return new TeacherColumns(learned, vocabulary, ids, logProbabilities, tail);
  }

  /** Random rows, plain where there is no teacher. */
  private static List<TokenRow> taught(
      RunConfig config, int rank, int numRanks, int step, TeacherColumns teacher) {
    return new SyntheticRows(config.train(), config.model().vocabSize(), rank, numRanks)
        .rowsOf(step).stream().map(row -> row.withTeacher(teacher)).toList();
  }

  private static long ownedAfterSteps(RunConfig config, Communicator end) {
    return ownedAfterSteps(config, end, null);
  }

  private static long ownedAfterSteps(RunConfig config, Communicator end, TeacherColumns teacher) {
    try (ComputeEngine engine = ComputeEngine.open("memory", config.cluster().gemmBackend(), 1);
        Arena arena =
            new Arena("rank " + end.rank(), RankMemory.ofRank(config, end.size()).limitBytes());
        RankState state =
            new RankState(config, end, engine.kernels(), arena, new PhaseClock(Phase.CONTROL))) {
      state.parameters().initialize(1);
      BatchAssembler assembler =
          new BatchAssembler(
              config.train().seqLen(), config.model().numMtpModules(), config.distill());
      double[] mtp = new double[config.model().numMtpModules()];
      Arrays.fill(mtp, 1e-4);
      LossScales scales = new LossScales(1e-3, mtp, config.train().balanceLossAlpha());
      for (int step = 1; step <= 2; step++) {
        List<TokenRow> own = taught(config, end.rank(), end.size(), step, teacher);
        try (Scope scope = arena.scope()) {
          TokenBatch batch = assembler.assemble(own, scope);
          state.model().train(step, 0, batch, scales, arena);
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
