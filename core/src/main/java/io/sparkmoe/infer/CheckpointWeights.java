package io.sparkmoe.infer;

import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;

/**
 * Weights of a checkpoint of our own training.
 *
 * @param checkpoint open while weights are read; stays the caller's
 */
public record CheckpointWeights(CheckpointReader checkpoint) implements WeightSource {

  @Override
  public ModelConfig model() throws IOException {
    return checkpoint.model();
  }

  @Override
  public void read(String name, Tensor into) throws IOException {
    checkpoint.read(name, into);
  }
}
