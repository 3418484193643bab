package io.sparkmoe.train;

import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.parallel.ClusterConfig;
import io.sparkmoe.parallel.ClusterConfig.GatePlacement;
import io.sparkmoe.parallel.Wire;
import java.util.Locale;

/**
 * All that defines a training run.
 *
 * @param model shape of the model
 * @param train how it is trained
 * @param cluster how ranks work together
 * @param distill how it learns from rows that have a teacher
 */
public record RunConfig(
    ModelConfig model, TrainConfig train, ClusterConfig cluster, DistillConfig distill) {

  /** Upper bound of the bytes that a pass takes per token and channel, activations and scratch. */
  private static final double BYTES_PER_CHANNEL = 64;

  /** Beyond it, sums of bytes would leave a long. */
  private static final double MOST_BYTES = 0x1p62;

  public RunConfig {
    double channels = (double) model.numLayers() * channels(model);
    double tokens = (double) train.batchSequences() * train.seqLen();
    double mostTokens = MOST_BYTES / BYTES_PER_CHANNEL / channels;
    if (tokens > mostTokens) {
      throw new IllegalArgumentException(
          String.format(
              Locale.ROOT,
              "train.batch_sequences times train.seq_len must be <= %.3g for this model, got %.3g",
              mostTokens,
              tokens));
    }
    if (train.seqLen() > model.maxPositionEmbeddings()) {
      throw new IllegalArgumentException(
          "train.seq_len must be <= model.max_position_embeddings="
              + model.maxPositionEmbeddings()
              + ", got "
              + train.seqLen());
    }
  }

  /** Widths of all that a layer computes for one token, together. */
  private static double channels(ModelConfig model) {
    double width = model.hiddenSize();
    double heads = (double) model.numAttentionHeads() * (model.qkHeadDim() + model.vHeadDim());
    double experts =
        model.numExpertsPerTok() * (width + model.moeIntermediateSize())
            + (double) model.numSharedExperts() * model.moeIntermediateSize();
    return width
        + heads
        + model.qLoraRank()
        + model.kvLoraRank()
        + model.intermediateSize()
        + model.numRoutedExperts()
        + experts;
  }

  /** A run that says nothing about teachers. */
  public RunConfig(ModelConfig model, TrainConfig train, ClusterConfig cluster) {
    this(model, train, cluster, DistillConfig.defaults());
  }

  /**
   * The same for one process without Spark: nothing crosses a wire, so nothing is rounded for one,
   * and the gate is evaluated where the tokens are, which gives the same bits as on a driver.
   */
  public RunConfig forLocalEngine() {
    return withCluster(
        cluster
            .withGatePlacement(GatePlacement.EXECUTOR)
            .withWires(Wire.FP32, Wire.FP32, Wire.FP32));
  }

  /** The same with other training settings. */
  public RunConfig withTrain(TrainConfig other) {
    return new RunConfig(model, other, cluster, distill);
  }

  /** The same with other cluster settings. */
  public RunConfig withCluster(ClusterConfig other) {
    return new RunConfig(model, train, other, distill);
  }

  /** The same with other settings of distillation. */
  public RunConfig withDistill(DistillConfig other) {
    return new RunConfig(model, train, cluster, other);
  }
}
