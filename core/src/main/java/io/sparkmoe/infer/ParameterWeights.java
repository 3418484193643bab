package io.sparkmoe.infer;

import io.sparkmoe.checkpoint.WeightSource;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameter;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.tensor.Tensor;

/**
 * Weights of a model that this process holds, such as one in training.
 *
 * @param parameters all parts, experts included
 */
public record ParameterWeights(Parameters parameters) implements WeightSource {

  @Override
  public String location() {
    return "memory";
  }

  @Override
  public ModelConfig model() {
    return parameters.config();
  }

  @Override
  public void read(String name, Tensor into) {
    Parameter parameter = parameters.find(name);
    if (parameter == null) {
      throw new IllegalArgumentException("the model in memory holds no tensor " + name);
    }
    into.copyFrom(parameter.value());
  }

  /** The parameters stay open. */
  @Override
  public void close() {}
}
