package io.sparkmoe.checkpoint;

import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameter;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;

/**
 * Weights of a model on disk, read tensor by tensor under Hugging Face's names: one of our
 * checkpoints or a Hugging Face folder. Not thread-safe.
 */
public interface WeightSource extends AutoCloseable {

  /** Where the weights lie, as a person would find them. */
  String location();

  /** Shape of the model; MTP modules are those whose weights are there. */
  ModelConfig model() throws IOException;

  /**
   * Reads one tensor.
   *
   * @param name Hugging Face's name
   * @param into of the tensor's shape and a floating type; values are rounded to nearest even where
   *     it is narrower than the file
   * @throws IllegalArgumentException when there is no such tensor or it has another shape
   */
  void read(String name, Tensor into) throws IOException;

  /** Reads every tensor that {@code weights} holds. */
  default void readWeights(Parameters weights) throws IOException {
    for (Parameter parameter : CheckpointReader.byName(weights).values()) {
      read(parameter.name(), parameter.value());
    }
  }

  @Override
  void close() throws IOException;
}
