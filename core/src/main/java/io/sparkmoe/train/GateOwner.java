package io.sparkmoe.train;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.ParameterBlock;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.moe.LoadBalancer;
import io.sparkmoe.moe.RouterConfig;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/**
 * The gating networks as the driver owns them, wherever they are evaluated: weights, selection
 * biases, gradients summed in rank order, optimizer state. E experts, D model width, L MoE layers.
 */
final class GateOwner implements AutoCloseable {

  private static final Set<Part> GATES = EnumSet.of(Part.GATE);

  private final ModelConfig model;
  private final TrainConfig train;
  private final Kernels kernels;
  private final Parameters parameters;
  private final AdamW optimizer;

  GateOwner(ModelConfig model, TrainConfig train, Kernels kernels, Arena arena) {
    this.model = model;
    this.train = train;
    this.kernels = kernels;
    ExpertPlacement placement = new ExpertPlacement(model.numRoutedExperts(), 1);
    this.parameters = Parameters.allocate(model, placement, 0, GATES, DType.F32, true, arena);
    this.optimizer = new AdamW(train, parameters, 0, GATES, kernels, arena);
  }

  /** Weights and selection biases, with gradients. */
  Parameters parameters() {
    return parameters;
  }

  AdamW optimizer() {
    return optimizer;
  }

  RouterConfig routerConfig() {
    return Gates.routerConfig(model, train.hasBalanceLoss());
  }

  /** One block (E*D) for each MoE layer, in layer order. */
  List<ParameterBlock> blocks() {
    return parameters.blocks(Part.GATE);
  }

  /**
   * Adds one rank's gradients; call in rank order.
   *
   * @param gradients one (E, D) or flat tensor for each MoE layer, in layer order
   */
  void addGradients(List<Tensor> gradients) {
    List<ParameterBlock> blocks = blocks();
    for (int i = 0; i < blocks.size(); i++) {
      Tensor sum = blocks.get(i).gradient();
      kernels.add(sum, gradients.get(i).reshape(sum.size()));
    }
  }

  /** Sum of squares of the summed gradients. */
  double sumOfSquares() {
    double sum = 0;
    for (ParameterBlock block : blocks()) {
      sum += kernels.sumOfSquares(block.gradient());
    }
    return sum;
  }

  /**
   * One optimizer step of the weights and one step of the selection biases.
   *
   * @param loads tokens by expert over the whole batch, (L, E)
   */
  void update(int step, double learningRate, double gradientScale, long[][] loads) {
    optimizer.step(step, learningRate, gradientScale);
    int moeLayer = 0;
    for (int layer = 0; layer < model.numLayers(); layer++) {
      if (model.isMoe(layer)) {
        Tensor bias = parameters.find(Parameters.selectionBiasName(layer)).value();
        LoadBalancer.update(bias, loads[moeLayer++], train.biasUpdateRate());
      }
    }
  }

  @Override
  public void close() {
    optimizer.close();
    parameters.close();
  }
}
