package io.sparkmoe.model;

import io.sparkmoe.tensor.Tensor;

/**
 * One named weight and its gradient, both views into a {@link ParameterBlock}.
 *
 * @param name Hugging Face's name, such as "model.layers.1.mlp.experts.3.down_proj.weight"
 * @param part who owns it
 * @param value the weight
 * @param gradient its gradient, same shape; null for the selection bias, which is not trained by
 *     gradients
 */
public record Parameter(String name, Part part, Tensor value, Tensor gradient) {

  /** Whether AdamW decays it: matrices yes, norm weights no. */
  public boolean isDecayed() {
    return value.numDims() > 1;
  }
}
