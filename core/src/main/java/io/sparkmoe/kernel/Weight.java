package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;

/**
 * A weight as the model uses it, which may span several Hugging Face tensors.
 *
 * @param value the weight
 * @param gradient where its gradient adds up, same shape; null where nothing is trained
 */
public record Weight(Tensor value, Tensor gradient) {}
