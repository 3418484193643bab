package io.sparkmoe.config;

import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.model.Recompute;
import io.sparkmoe.parallel.ClusterConfig.GatePlacement;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.train.RunConfig;
import java.util.EnumSet;
import java.util.stream.IntStream;

/**
 * Bytes that a run on P executors sends, from its configuration alone: expectations under even
 * routing that knows no groups; the limit on groups can only lower them.
 *
 * @param expertBytesPerToken dispatch and combine, forward and backward and, where a layer is
 *     computed again, once more, over all MoE layers
 * @param gateBytesPerToken to the driver and back over all MoE layers
 * @param gradientBytesPerStep replicated gradients that one executor sends in a step
 */
public record WireVolume(
    double expertBytesPerToken, long gateBytesPerToken, double gradientBytesPerStep) {

  /**
   * @param config of the run
   * @param executors P, at least 1
   */
  public static WireVolume of(RunConfig config, int executors) {
    if (executors < 1) {
      throw new IllegalArgumentException(
          "wrong number of executors: got " + executors + ", expected at least 1");
    }
    ModelConfig model = config.model();
    ExpertPlacement placement = new ExpertPlacement(model.numRoutedExperts(), executors);
    int layers = model.numMoeLayers();
    // The share 1/P of what is reached is at home.
    double remote = placement.ranksReached(model.numExpertsPerTok()) * (executors - 1) / executors;
    double rowBytes =
        config.cluster().dispatchWire().bytes(model.hiddenSize())
            + config.cluster().combineWire().bytes(model.hiddenSize());
    long replicated = Parameters.numElements(model, EnumSet.of(Part.REPLICATED));
    return new WireVolume(
        exchanges(config) * remote * rowBytes,
        gateBytesPerToken(config) * layers,
        2.0 * (executors - 1) / executors * config.cluster().gradientWire().bytes(replicated));
  }

  /** Times that a token goes to experts and back: modules for MTP are not computed again. */
  private static long exchanges(RunConfig config) {
    ModelConfig model = config.model();
    long again =
        config.train().recompute() == Recompute.LAYER
            ? IntStream.range(0, model.numHiddenLayers()).filter(model::isMoe).count()
            : 0;
    return 2L * model.numMoeLayers() + again;
  }

  /**
   * Hidden vector up, ids and weights down; their gradients up, the hidden vector's gradient down.
   */
  private static long gateBytesPerToken(RunConfig config) {
    if (config.cluster().gatePlacement() == GatePlacement.EXECUTOR) {
      return 0;
    }
    ModelConfig model = config.model();
    return config.train().precision().gateWire().bytes(model.hiddenSize())
        + Wire.FP32.bytes(model.hiddenSize())
        + (Short.BYTES + 2L * Float.BYTES) * model.numExpertsPerTok();
  }
}
