package io.sparkmoe.train;

import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.parallel.ClusterConfig;
import io.sparkmoe.parallel.ClusterConfig.GatePlacement;
import io.sparkmoe.parallel.Wire;

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
