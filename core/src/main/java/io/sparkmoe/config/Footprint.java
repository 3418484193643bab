package io.sparkmoe.config;

import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.parallel.ClusterConfig.GatePlacement;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.train.RunConfig;
import java.util.EnumSet;

/**
 * What a run takes on one of P executors, from its configuration alone. Memory is that of the
 * training state, which activations and buffers come on top of. Bytes on the wire are expectations
 * under even routing that knows no groups; the limit on groups can only lower them.
 *
 * <p>Legend: P executors, E experts, K experts of a token, D model width, L MoE layers.
 *
 * @param executors P
 * @param weightBytes FP32 weights of the executor with most experts
 * @param gradientBytes FP32 gradients of the same
 * @param optimizerBytes AdamW's two moments of the same
 * @param driverBytes the gates on the driver: weights, gradients, moments
 * @param expertWireBytesPerToken dispatch and combine, forward and backward, over all MoE layers
 * @param gateWireBytesPerToken to the driver and back over all MoE layers
 * @param gradientWireBytesPerStep replicated gradients that one executor sends in a step
 */
public record Footprint(
    int executors,
    long weightBytes,
    long gradientBytes,
    long optimizerBytes,
    long driverBytes,
    double expertWireBytesPerToken,
    long gateWireBytesPerToken,
    double gradientWireBytesPerStep) {

  private static final int FP32_BYTES = 4;
  private static final int MOMENTS = 2;

  /** One scale byte for as many FP8 values. */
  private static final int FP8_TILE = 128;

  /**
   * @param config of the run
   * @param executors P, at least 1
   */
  public static Footprint of(RunConfig config, int executors) {
    if (executors < 1) {
      throw new IllegalArgumentException(
          "wrong number of executors: got " + executors + ", expected at least 1");
    }
    ModelConfig model = config.model();
    ExpertPlacement placement = new ExpertPlacement(model.numRoutedExperts(), executors);
    long replicated = elements(model, Part.REPLICATED);
    long experts = elements(model, Part.EXPERT);
    long gates = elements(model, Part.GATE);
    // The first rank has as many experts as any.
    long held = replicated;
    if (experts > 0) {
      held += experts / model.numRoutedExperts() * placement.numLocalExperts(0);
    }
    long momentBytes = (long) MOMENTS * config.train().precision().moments().sizeBytes();
    int layers = model.numMoeLayers();
    double exchanged = 2.0 * layers * remoteDestinations(model.numExpertsPerTok(), placement);
    double rowBytes =
        bytes(config.cluster().dispatchWire(), model.hiddenSize())
            + bytes(config.cluster().combineWire(), model.hiddenSize());
    return new Footprint(
        executors,
        held * FP32_BYTES,
        held * FP32_BYTES,
        held * momentBytes,
        gates * (2 * FP32_BYTES + momentBytes),
        exchanged * rowBytes,
        gateBytesPerToken(config) * layers,
        2.0 * (executors - 1) / executors * bytes(config.cluster().gradientWire(), replicated));
  }

  /** Weights, gradients and moments of one executor. */
  public long stateBytes() {
    return weightBytes + gradientBytes + optimizerBytes;
  }

  private static long elements(ModelConfig model, Part part) {
    return Parameters.numElements(model, EnumSet.of(part));
  }

  /**
   * Expected number of other executors that hold at least one of a token's K experts, drawn without
   * replacement: the sum over executors of {@code 1 - C(E - n, K) / C(E, K)} with n experts there,
   * less the share (P - 1)/P kept at home.
   */
  static double remoteDestinations(int topK, ExpertPlacement placement) {
    int numExperts = placement.numExperts();
    double reached = 0;
    for (int rank = 0; rank < placement.numRanks(); rank++) {
      double missed = 1;
      for (int i = 0; i < topK; i++) {
        missed *=
            Math.max(0, numExperts - placement.numLocalExperts(rank) - i)
                / (double) (numExperts - i);
      }
      reached += 1 - missed;
    }
    return reached * (placement.numRanks() - 1) / placement.numRanks();
  }

  /**
   * Hidden vector up, ids and weights down; their gradients up, the hidden vector's gradient down.
   */
  private static long gateBytesPerToken(RunConfig config) {
    if (config.cluster().gatePlacement() == GatePlacement.EXECUTOR) {
      return 0;
    }
    ModelConfig model = config.model();
    return bytes(config.train().precision().gateWire(), model.hiddenSize())
        + bytes(Wire.FP32, model.hiddenSize())
        + (Short.BYTES + 2L * FP32_BYTES) * model.numExpertsPerTok();
  }

  private static long bytes(Wire wire, long elements) {
    return switch (wire) {
      case FP32 -> 4 * elements;
      case BF16 -> 2 * elements;
      case FP8 -> elements + (elements + FP8_TILE - 1) / FP8_TILE;
    };
  }
}
