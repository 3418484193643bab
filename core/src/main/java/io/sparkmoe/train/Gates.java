package io.sparkmoe.train;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.moe.GateWeights;
import io.sparkmoe.moe.LocalGate;
import io.sparkmoe.moe.RouterConfig;
import java.util.Map;
import java.util.TreeMap;

/** Builds gates from a model's parameters. */
final class Gates {

  private Gates() {}

  static RouterConfig routerConfig(ModelConfig model, boolean balanceLoss) {
    return new RouterConfig(
        model.numExpertsPerTok(),
        model.numGroups(),
        model.topGroups(),
        model.normTopkProb(),
        model.routedScalingFactor(),
        balanceLoss);
  }

  /** A gate over the weights, gradients and selection biases held in {@code parameters}. */
  static LocalGate local(RouterConfig router, Parameters parameters, Kernels kernels) {
    return new LocalGate(router, weights(parameters), kernels);
  }

  /** Weights by MoE layer. */
  static Map<Integer, GateWeights> weights(Parameters parameters) {
    ModelConfig model = parameters.config();
    Map<Integer, GateWeights> byLayer = new TreeMap<>();
    for (int layer = 0; layer < model.numLayers(); layer++) {
      if (model.isMoe(layer)) {
        Weight weight = parameters.weight(Parameters.gateWeightName(layer));
        Weight bias = parameters.weight(Parameters.selectionBiasName(layer));
        byLayer.put(layer, new GateWeights(weight.value(), weight.gradient(), bias.value()));
      }
    }
    return byLayer;
  }

  /** Tokens by MoE layer and expert that a gate counted, (L, E). */
  static long[][] loads(ModelConfig model, LocalGate gate) {
    long[][] loads = new long[model.numMoeLayers()][];
    int moeLayer = 0;
    for (int layer = 0; layer < model.numLayers(); layer++) {
      if (model.isMoe(layer)) {
        loads[moeLayer++] = gate.load(layer);
      }
    }
    return loads;
  }
}
