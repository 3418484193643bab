package io.sparkmoe.train;

import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.parallel.ClusterConfig;

/**
 * All that defines a training run.
 *
 * @param model shape of the model
 * @param train how it is trained
 * @param cluster how ranks work together
 */
public record RunConfig(ModelConfig model, TrainConfig train, ClusterConfig cluster) {

  public RunConfig withModel(ModelConfig other) {
    return new RunConfig(other, train, cluster);
  }

  public RunConfig withTrain(TrainConfig other) {
    return new RunConfig(model, other, cluster);
  }

  public RunConfig withCluster(ClusterConfig other) {
    return new RunConfig(model, train, other);
  }
}
