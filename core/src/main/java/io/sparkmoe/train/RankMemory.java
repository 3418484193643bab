package io.sparkmoe.train;

import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.parallel.ClusterConfig;
import io.sparkmoe.parallel.ClusterConfig.GatePlacement;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.parallel.Wire;
import java.util.EnumSet;

/**
 * Off-heap bytes that a rank or the driver needs, from the config alone.
 *
 * <p>Legend: D model width, F FFN width, E experts, K experts of a token, H heads.
 *
 * @param stateBytes weights, gradients, optimizer moments and what the gradient reduction keeps
 * @param activationBytes what one forward pass keeps for its backward, and the backward's scratch
 */
public record RankMemory(long stateBytes, long activationBytes) {

  private static final int FP32_BYTES = 4;

  /** FP32 weight and gradient. */
  private static final int WEIGHT_AND_GRADIENT_BYTES = 8;

  private static final int MOMENTS = 2;

  /** Routing is uneven: a rank may receive that much more than its share. */
  private static final double IMBALANCE = 1.5;

  /** Size classes of the arena, GEMM scratch and gradients on their way. */
  private static final double ROUNDING = 1.25;

  private static final long FIXED_BYTES = 192L << 20;

  /** Of the rank that holds most experts. */
  public static RankMemory ofRank(RunConfig config, int numRanks) {
    ModelConfig model = config.model();
    ExpertPlacement placement = new ExpertPlacement(model.numRoutedExperts(), numRanks);
    long replicated = elements(model, Part.REPLICATED);
    long trained = replicated;
    if (model.numMoeLayers() > 0) {
      long perExpert = elements(model, Part.EXPERT) / model.numRoutedExperts();
      trained += perExpert * placement.numLocalExperts(0);
    }
    Precision precision = config.train().precision();
    long state =
        trained * (elementBytes(precision) + precision.operandBytes())
            + reductionElements(config, numRanks, replicated) * FP32_BYTES;
    if (config.cluster().gatePlacement() == GatePlacement.EXECUTOR) {
      // The driver has a gate's moments.
      state += elements(model, Part.GATE) * WEIGHT_AND_GRADIENT_BYTES;
    }
    return new RankMemory(state, activationBytes(config, numRanks));
  }

  /** Weight, gradient and moments of an element. */
  private static int elementBytes(Precision precision) {
    return WEIGHT_AND_GRADIENT_BYTES + MOMENTS * precision.moments().sizeBytes();
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

  /** Of the driver: gates, and where it evaluates them, the ranks' hidden states and scores. */
  public static RankMemory ofDriver(RunConfig config, int numRanks) {
    ModelConfig model = config.model();
    long state =
        elements(model, Part.GATE)
            * (elementBytes(config.train().precision()) + (long) FP32_BYTES * numRanks);
    long activations = 0;
    if (config.cluster().gatePlacement() == GatePlacement.DRIVER) {
      double perToken = 2.0 * model.hiddenSize() + 4.0 * model.numRoutedExperts();
      activations =
          (long) (tokensPerPass(config, numRanks) * numRanks * model.numMoeLayers() * perToken)
              * FP32_BYTES;
    }
    return new RankMemory(state, activations);
  }

  /** All of it with allowances: what a process must be given. */
  public long limitBytes() {
    return stateBytes + (long) (ROUNDING * activationBytes) + FIXED_BYTES;
  }

  private static long activationBytes(RunConfig config, int numRanks) {
    ModelConfig model = config.model();
    double perToken = 8.0 * model.hiddenSize();
    double largest = 0;
    for (int layer = 0; layer < model.numLayers(); layer++) {
      double saved = attention(model) + (model.isMoe(layer) ? moe(model, numRanks) : dense(model));
      perToken += saved;
      largest = Math.max(largest, saved);
    }
    // The backward of a layer holds about as much again as its forward saved.
    perToken += largest;
    return (long) (tokensPerPass(config, numRanks) * perToken) * FP32_BYTES;
  }

  private static long tokensPerPass(RunConfig config, int numRanks) {
    TrainConfig train = config.train();
    int slice = MicroBatches.largestSlice(train.batchSequences(), numRanks);
    int rows =
        train.microBatchSequences() == 0 ? slice : Math.min(slice, train.microBatchSequences());
    return (long) rows * train.seqLen();
  }

  private static double attention(ModelConfig model) {
    double perHead = 3.0 * model.qkHeadDim() + model.qkNopeHeadDim() + 3.0 * model.vHeadDim() + 1;
    return 5.0 * model.hiddenSize()
        + 2.0 * model.qLoraRank()
        + 2.0 * model.kvLoraRank()
        + 2.0 * model.qkRopeHeadDim()
        + model.numAttentionHeads() * perHead;
  }

  private static double dense(ModelConfig model) {
    return 3.0 * model.intermediateSize();
  }

  private static double moe(ModelConfig model, int numRanks) {
    double expert = 2.0 * model.hiddenSize() + 3.0 * model.moeIntermediateSize();
    double exchanged = numRanks == 1 ? 0 : 4.0 * model.hiddenSize();
    double imbalance = numRanks == 1 ? 1 : IMBALANCE;
    return 3.0 * model.numRoutedExperts()
        + 3.0 * model.numSharedExperts() * model.moeIntermediateSize()
        + imbalance * (model.numExpertsPerTok() * expert + exchanged);
  }

  private static long elements(ModelConfig model, Part part) {
    return Parameters.numElements(model, EnumSet.of(part));
  }
}
