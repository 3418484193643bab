package io.sparkmoe.infer;

import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;

/** Where a model's weights come from, by Hugging Face name: a checkpoint, a folder, or memory. */
public interface WeightSource {

  /** Shape of the model. */
  ModelConfig model() throws IOException;

  /**
   * Reads one tensor.
   *
   * @param name such as "model.layers.0.self_attn.o_proj.weight"
   * @param into F32, of the tensor's shape; written
   * @throws IllegalArgumentException when there is no such tensor or it has another shape
   * @throws io.sparkmoe.io.CorruptFileException when it cannot be read
   */
  void read(String name, Tensor into) throws IOException;
}
