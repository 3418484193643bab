package io.sparkmoe.train;

import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.model.Recompute;
import io.sparkmoe.parallel.ClusterConfig;
import io.sparkmoe.parallel.ClusterConfig.GatePlacement;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.parallel.Wire;
import java.util.EnumSet;

/**
 * Off-heap bytes in the arena of a rank or of the driver, from the config alone. {@link
 * ResidentMemory} adds what else a process takes.
 *
 * @param weightBytes FP32 master weights, of the rank that holds most experts
 * @param gradientBytes their gradients
 * @param momentBytes AdamW's two moments
 * @param operandBytes weights once more, as low-precision products read them
 * @param reductionBytes what the reduction of gradients keeps from step to step
 * @param passBytes activations and scratch of one forward and backward
 * @param limitBytes what the arena may own: all of it in size classes, with routing less even than
 *     expected
 */
public record RankMemory(
    long weightBytes,
    long gradientBytes,
    long momentBytes,
    long operandBytes,
    long reductionBytes,
    long passBytes,
    long limitBytes) {

  /** What to do where an arena passes its limit. */
  static final String ADVICE = "lower micro_batch_sequences or give the process more memory";

  private static final int FP32_BYTES = 4;
  private static final int MOMENTS = 2;

  /**
   * Rows of a rank's experts over an even share that the limit allows for; balancing keeps ranks of
   * many experts far below it.
   */
  private static final double LIMIT_IMBALANCE = 1.5;

  /** A size class is at most an eighth above what is asked for. */
  private static final double CLASS_ROUNDING = 1.125;

  /** Buckets of the gradient reduction on their way, evaluation batches, and what is small. */
  private static final long SLACK_BYTES = 192L << 20;

  /** Of a training rank whose rows have no teacher. */
  public static RankMemory ofRank(RunConfig config, int numRanks) {
    return ofRank(config, numRanks, 0);
  }

  /**
   * Of a training rank.
   *
   * @param teacherTopK tokens that a teacher stores of a position, as far as the loss reads them
   */
  public static RankMemory ofRank(RunConfig config, int numRanks, int teacherTopK) {
    ModelConfig model = config.model();
    ExpertPlacement placement = new ExpertPlacement(model.numRoutedExperts(), numRanks);
    long replicated = elements(model, Part.REPLICATED);
    long trained = replicated;
    if (model.numMoeLayers() > 0) {
      // The first rank has as many experts as any.
      trained +=
          elements(model, Part.EXPERT) / model.numRoutedExperts() * placement.numLocalExperts(0);
    }
    // The driver has the moments of a gate on a rank.
    long gates =
        config.cluster().gatePlacement() == GatePlacement.EXECUTOR ? elements(model, Part.GATE) : 0;
    return of(
        (trained + gates) * FP32_BYTES,
        (trained + gates) * FP32_BYTES,
        trained * momentBytes(config),
        trained * config.train().precision().operandBytes(config.cluster().gemmBackend()),
        reductionElements(config, numRanks, replicated) * FP32_BYTES,
        pass(config, numRanks, teacherTopK, 1).training(),
        pass(config, numRanks, teacherTopK, numRanks == 1 ? 1 : LIMIT_IMBALANCE).training());
  }

  /** Of the driver: gates, and where it evaluates them, the ranks' hidden states and scores. */
  public static RankMemory ofDriver(RunConfig config, int numRanks) {
    ModelConfig model = config.model();
    long gates = elements(model, Part.GATE) * FP32_BYTES;
    AllocationLedger received = new AllocationLedger();
    try (AllocationLedger.Frame frame = received.open()) {
      // What each rank's gradients are received into.
      for (int rank = 0; rank < numRanks; rank++) {
        frame.bytes(gates);
      }
      if (config.cluster().gatePlacement() == GatePlacement.DRIVER) {
        long tokens = (long) rowsPerPass(config, numRanks) * config.train().seqLen();
        long perToken = 2L * model.hiddenSize() + 4L * model.numRoutedExperts();
        for (int call = 0; call < numRanks * model.numMoeLayers(); call++) {
          frame.words(tokens * perToken);
        }
      }
    }
    return of(
        gates, gates, elements(model, Part.GATE) * momentBytes(config), 0, 0, received, received);
  }

  /**
   * Of a process that only evaluates.
   *
   * @param gemmBackend name of the matrix library, or how it is chosen
   * @param rows sequences of a pass
   */
  public static RankMemory ofEvaluation(
      ModelConfig model, Precision precision, String gemmBackend, int seqLen, int rows) {
    ClusterConfig alone =
        ClusterConfig.defaults()
            .withGemmBackend(gemmBackend)
            .withGatePlacement(GatePlacement.EXECUTOR);
    long weights = Parameters.numElements(model, EnumSet.allOf(Part.class));
    AllocationLedger pass =
        new PassMemory(model, precision, Recompute.NONE, alone, 1, rows, seqLen, 0, 1).evaluation();
    long operands = weights * precision.operandBytes(gemmBackend);
    return of(weights * FP32_BYTES, 0, 0, operands, 0, pass, pass);
  }

  private static RankMemory of(
      long weights,
      long gradients,
      long moments,
      long operands,
      long reduction,
      AllocationLedger expected,
      AllocationLedger worst) {
    double state = (double) weights + gradients + moments + operands + reduction;
    return new RankMemory(
        weights,
        gradients,
        moments,
        operands,
        reduction,
        expected.touchedBytes(),
        (long) (CLASS_ROUNDING * state) + worst.ownedBytes() + SLACK_BYTES);
  }

  /**
   * Java heap, in bytes, of the frames that may wait at a rank until it takes them: one layer's
   * tokens from all other ranks, or their shards of the gradients, as if neither were rounded.
   */
  public static long waitingFrameBytes(RunConfig config, int numRanks) {
    ModelConfig model = config.model();
    if (numRanks == 1) {
      return 0;
    }
    double tokensOfOthers = 0;
    if (model.numMoeLayers() > 0) {
      double copies =
          new ExpertPlacement(model.numRoutedExperts(), numRanks)
              .ranksReached(model.numExpertsPerTok());
      double tokens = (double) rowsPerPass(config, numRanks) * config.train().seqLen();
      tokensOfOthers = LIMIT_IMBALANCE * tokens * copies * (numRanks - 1) / numRanks;
    }
    long dispatched = (long) tokensOfOthers * model.hiddenSize();
    return FP32_BYTES * Math.max(dispatched, elements(model, Part.REPLICATED));
  }

  /** All that stays from step to step. */
  public long stateBytes() {
    return weightBytes + gradientBytes + momentBytes + operandBytes + reductionBytes;
  }

  /** All that is expected to be written. */
  public long expectedBytes() {
    return stateBytes() + passBytes;
  }

  /** What the reduction of replicated gradients keeps from step to step. */
  private static long reductionElements(RunConfig config, int numRanks, long replicated) {
    ClusterConfig cluster = config.cluster();
    if (numRanks == 1 || cluster.gradientWire() == Wire.FP32) {
      return 0;
    }
    long elements = 0;
    if (cluster.gradientWire() == Wire.FP8) {
      // Error feedback of what is sent, and of the sums of this rank's shards.
      elements += replicated + replicated / numRanks;
    }
    if (cluster.gradientCheckEvery() > 0) {
      // The FP32 sum and the sum of the errors.
      elements += 2 * replicated;
    }
    return elements;
  }

  private static PassMemory pass(
      RunConfig config, int numRanks, int teacherTopK, double imbalance) {
    return new PassMemory(
        config.model(),
        config.train().precision(),
        config.train().recompute(),
        config.cluster(),
        numRanks,
        rowsPerPass(config, numRanks),
        config.train().seqLen(),
        teacherTopK,
        imbalance);
  }

  private static int rowsPerPass(RunConfig config, int numRanks) {
    TrainConfig train = config.train();
    int slice = MicroBatches.largestSlice(train.batchSequences(), numRanks);
    int passes = MicroBatches.passes(slice, train.microBatchSequences());
    return (slice + passes - 1) / passes;
  }

  private static long momentBytes(RunConfig config) {
    return (long) MOMENTS * config.train().precision().moments().sizeBytes();
  }

  private static long elements(ModelConfig model, Part part) {
    return Parameters.numElements(model, EnumSet.of(part));
  }
}
