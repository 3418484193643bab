package io.sparkmoe.train;

import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.ParameterBlock;
import io.sparkmoe.moe.GateServer;
import io.sparkmoe.moe.GateWeights;
import io.sparkmoe.moe.LocalGate;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.Communicator.Frame;
import io.sparkmoe.parallel.RowCodec;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiConsumer;

/**
 * Gates evaluated on the driver: every rank has a gate of its own here, over the owner's weights
 * and with its own gradients, on its own thread and its own kernels.
 */
final class DriverGates implements GateRole {

  private final GateOwner owner;
  private final GateServer server;
  private final List<ComputeEngine> engines = new ArrayList<>();
  private final List<LocalGate> gates = new ArrayList<>();

  /** Gradients by rank, one block for each MoE layer. */
  private final List<List<Tensor>> gradients = new ArrayList<>();

  /**
   * @param hiddenWire format of hidden states from the ranks
   * @param gemmBackend the run's matrix library
   */
  DriverGates(
      GateOwner owner,
      Communicator communicator,
      Wire hiddenWire,
      String gemmBackend,
      Arena arena) {
    this.owner = owner;
    ModelConfig model = owner.parameters().config();
    List<RowCodec> codecs = new ArrayList<>();
    for (int rank = 0; rank < communicator.size(); rank++) {
      ComputeEngine engine = ComputeEngine.open("driver's gate of rank " + rank, gemmBackend, 1);
      engines.add(engine);
      codecs.add(new RowCodec(hiddenWire, DType.F32, model.hiddenSize(), engine.kernels()));
      gradients.add(new ArrayList<>());
      for (ParameterBlock block : owner.blocks()) {
        gradients.get(rank).add(arena.zeros(DType.F32, block.gradient().size()));
      }
      Map<Integer, GateWeights> weights = weightsOf(gradients.get(rank));
      gates.add(new LocalGate(owner.routerConfig(), weights, engine.kernels()));
    }
    this.server =
        new GateServer(
            communicator,
            gates,
            model.numExpertsPerTok(),
            model.hiddenSize(),
            DType.F32,
            codecs,
            arena);
  }

  private Map<Integer, GateWeights> weightsOf(List<Tensor> ofRank) {
    Map<Integer, GateWeights> weights = new TreeMap<>();
    int moeLayer = 0;
    for (Map.Entry<Integer, GateWeights> entry : Gates.weights(owner.parameters()).entrySet()) {
      GateWeights owned = entry.getValue();
      Tensor gradient = ofRank.get(moeLayer++).reshape(owned.weight().shape());
      weights.put(entry.getKey(), new GateWeights(owned.weight(), gradient, owned.bias()));
    }
    return weights;
  }

  @Override
  public BiConsumer<Integer, Frame> calls() {
    return server::handle;
  }

  @Override
  public void collect(int step, RankInbox inbox, long[][] loads) {
    ModelConfig model = owner.parameters().config();
    for (int rank = 0; rank < gates.size(); rank++) {
      owner.addGradients(gradients.get(rank));
      long[][] ofRank = Gates.loads(model, gates.get(rank));
      for (int moeLayer = 0; moeLayer < loads.length; moeLayer++) {
        for (int e = 0; e < loads[moeLayer].length; e++) {
          loads[moeLayer][e] += ofRank[moeLayer][e];
        }
      }
    }
  }

  /** The gates here read the owner's weights themselves; only what the step added up is cleared. */
  @Override
  public void publish(int step) {
    gates.forEach(LocalGate::resetLoads);
    gradients.forEach(ofRank -> ofRank.forEach(Tensor::zero));
  }

  @Override
  public void close() {
    server.close();
    gradients.forEach(ofRank -> ofRank.forEach(Tensor::close));
    engines.forEach(ComputeEngine::close);
  }
}
