package io.sparkmoe.train;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.layer.Layers;
import io.sparkmoe.model.LanguageModel;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameter;
import io.sparkmoe.model.ParameterBlock;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.moe.ExchangeDispatcher;
import io.sparkmoe.moe.Gate;
import io.sparkmoe.moe.LocalGate;
import io.sparkmoe.moe.RemoteGate;
import io.sparkmoe.moe.RouterConfig;
import io.sparkmoe.parallel.ClusterConfig;
import io.sparkmoe.parallel.ClusterConfig.GatePlacement;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.parallel.GradientReducer;
import io.sparkmoe.parallel.PhaseClock;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import io.sparkmoe.train.protocol.Fp8Rounding;
import io.sparkmoe.train.protocol.WireQuality;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * All that a rank holds during a run: its parameters and their optimizer, the model over them, and
 * the ways to the other ranks.
 */
final class RankState implements AutoCloseable {

  private static final Set<Part> OPTIMIZED = EnumSet.of(Part.REPLICATED, Part.EXPERT);

  private final Kernels kernels;
  private final Parameters parameters;
  private final AdamW optimizer;
  private final LocalGate localGate;
  private final Layers layers;
  private final LanguageModel model;
  private final GradientReducer reducer;
  private final GradientWireCheck wireCheck;
  private final int wireCheckEvery;
  private final int roundingEvery;

  RankState(
      RunConfig config, Communicator communicator, Kernels kernels, Arena arena, PhaseClock clock) {
    this.kernels = kernels;
    ModelConfig model = config.model();
    ClusterConfig cluster = config.cluster();
    int rank = communicator.rank();
    ExpertPlacement placement = new ExpertPlacement(model.numRoutedExperts(), communicator.size());
    boolean gateHere = cluster.gatePlacement() == GatePlacement.EXECUTOR;
    Set<Part> held = gateHere ? EnumSet.allOf(Part.class) : OPTIMIZED;
    this.parameters = Parameters.allocate(model, placement, rank, held, DType.F32, true, arena);
    this.optimizer = new AdamW(config.train(), parameters, rank, OPTIMIZED, kernels, arena);
    RouterConfig router = Gates.routerConfig(model, config.train().hasBalanceLoss());
    this.localGate = gateHere ? Gates.local(router, parameters, kernels) : null;
    Precision precision = config.train().precision();
    Gate gate =
        gateHere
            ? precision.gate(localGate, kernels)
            : new RemoteGate(communicator, router, precision.gateWire(), kernels);
    ExchangeDispatcher dispatcher =
        new ExchangeDispatcher(
            communicator, placement, kernels, cluster.dispatchWire(), cluster.combineWire());
    this.layers = precision.layers(kernels, config.train().fp8Recipe(), arena);
    this.model =
        new LanguageModel(parameters, gate, dispatcher, layers, config.train().recompute(), clock);
    List<Tensor> gradients =
        parameters.blocks(Part.REPLICATED).stream().map(ParameterBlock::gradient).toList();
    this.reducer =
        new GradientReducer(communicator, cluster.gradientWire(), gradients, kernels, arena);
    this.roundingEvery = config.train().fp8StatsEvery();
    this.wireCheckEvery = cluster.gradientCheckEvery();
    boolean checks =
        wireCheckEvery > 0 && communicator.size() > 1 && cluster.gradientWire() != Wire.FP32;
    this.wireCheck = checks ? new GradientWireCheck(communicator, gradients, kernels, arena) : null;
  }

  Parameters parameters() {
    return parameters;
  }

  AdamW optimizer() {
    return optimizer;
  }

  /** Takes an optimizer step, see {@link AdamW#step}. */
  void optimize(int step, double learningRate, double gradientScale) {
    optimizer.step(step, learningRate, gradientScale);
    layers.optimized();
  }

  LanguageModel model() {
    return model;
  }

  GradientReducer reducer() {
    return reducer;
  }

  /**
   * Sums the replicated gradients over the ranks.
   *
   * @return what the wire lost, null when this step is not checked
   */
  WireQuality reduceGradients(int step) {
    boolean due = wireCheck != null && step % wireCheckEvery == 0;
    if (due) {
      wireCheck.before(step);
    }
    reducer.reduce(step);
    return due ? wireCheck.after() : null;
  }

  /** Counts what rounding to FP8 does in this step, if it is due. */
  void countRounding(int step) {
    if (roundingIsDue(step)) {
      layers.countRounding(true);
    }
  }

  /** What was counted by kind of tensor, null when nothing was. */
  Map<String, Fp8Rounding> roundingOf(int step) {
    if (!roundingIsDue(step) || layers.rounding().isEmpty()) {
      return null;
    }
    Map<String, Fp8Rounding> byKind = new TreeMap<>();
    layers
        .rounding()
        .forEach(
            (kind, counted) -> {
              double values = Math.max(1, counted.values());
              byKind.put(
                  kind.label(),
                  new Fp8Rounding(
                      counted.values(),
                      counted.underflowed() / values,
                      counted.saturated() / values,
                      counted.largest()));
            });
    layers.countRounding(false);
    return byKind;
  }

  private boolean roundingIsDue(int step) {
    return roundingEvery > 0 && step % roundingEvery == 0;
  }

  /** The gate of this rank, or null when the driver evaluates it. */
  LocalGate localGate() {
    return localGate;
  }

  /** Tokens by MoE layer and expert that this rank's gate counted, (L, E). */
  long[][] gateLoads() {
    return Gates.loads(parameters.config(), localGate);
  }

  /** Begins a new step of the gate of this rank, whose gradients the driver has. */
  void resetGate() {
    localGate.resetLoads();
    for (ParameterBlock block : parameters.blocks(Part.GATE)) {
      block.gradient().zero();
    }
  }

  /** Sum of squares of the gradients of a part. */
  double sumOfSquares(Part part) {
    double sum = 0;
    for (ParameterBlock block : parameters.blocks(part)) {
      sum += kernels.sumOfSquares(block.gradient());
    }
    return sum;
  }

  /** Name of the first parameter whose gradient is not finite, or null. */
  String firstNonFinite() {
    for (Parameter parameter : parameters.all()) {
      if (parameter.gradient() != null && kernels.firstNonFinite(parameter.gradient()) >= 0) {
        return parameter.name();
      }
    }
    return null;
  }

  @Override
  public void close() {
    if (wireCheck != null) {
      wireCheck.close();
    }
    reducer.close();
    layers.close();
    optimizer.close();
    parameters.close();
  }
}
