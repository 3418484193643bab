package io.sparkmoe.train;

import io.sparkmoe.checkpoint.CheckpointReader;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.layer.Fp8Recipe;
import io.sparkmoe.layer.Layers;
import io.sparkmoe.model.LanguageModel;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.moe.ExchangeDispatcher;
import io.sparkmoe.moe.RouterConfig;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.parallel.LocalCommunicator;
import io.sparkmoe.parallel.Phase;
import io.sparkmoe.parallel.PhaseClock;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.function.UnaryOperator;

/** The weights of a checkpoint, all of them in this process, to be computed with in any format. */
final class CheckpointModel implements AutoCloseable {

  private final Communicator communicator;
  private final ComputeEngine engine;
  private final Arena arena;
  private final Parameters parameters;
  private final List<Layers> opened = new ArrayList<>();

  /**
   * @param withGradients whether {@link LanguageModel#train} is to be called
   * @param memoryLimitBytes off-heap bytes that may be used
   */
  CheckpointModel(
      CheckpointReader checkpoint, boolean withGradients, int threads, long memoryLimitBytes)
      throws IOException {
    ModelConfig model = checkpoint.model();
    this.communicator = LocalCommunicator.group(1, Duration.ofSeconds(1)).rank(0);
    this.engine = ComputeEngine.open("checkpoint", checkpoint.manifest().gemmBackend(), threads);
    this.arena = new Arena("checkpoint", memoryLimitBytes, RankMemory.ADVICE);
    try {
      this.parameters =
          Parameters.allocate(
              model,
              new ExpertPlacement(model.numRoutedExperts(), 1),
              0,
              EnumSet.allOf(Part.class),
              DType.F32,
              withGradients,
              arena);
    } catch (RuntimeException e) {
      engine.close();
      throw e;
    }
    try {
      checkpoint.readWeights(parameters);
    } catch (IOException | RuntimeException e) {
      close();
      throw e;
    }
  }

  /** A model over the weights, until this is closed. */
  LanguageModel language(Precision precision, Fp8Recipe recipe) {
    return language(precision, recipe, UnaryOperator.identity());
  }

  /**
   * As above.
   *
   * @param gateKernels what the gates compute with instead of the model's kernels
   */
  LanguageModel language(
      Precision precision, Fp8Recipe recipe, UnaryOperator<Kernels> gateKernels) {
    Kernels kernels = engine.kernels();
    Layers layers = precision.layers(kernels, recipe, arena);
    opened.add(layers);
    RouterConfig router = Gates.routerConfig(parameters.config(), true);
    return new LanguageModel(
        parameters,
        precision.gate(Gates.local(router, parameters, gateKernels.apply(kernels)), kernels),
        new ExchangeDispatcher(communicator, parameters.placement(), kernels, Wire.FP32, Wire.FP32),
        layers,
        new PhaseClock(Phase.TRUNK));
  }

  Parameters parameters() {
    return parameters;
  }

  Arena arena() {
    return arena;
  }

  @Override
  public void close() {
    opened.forEach(Layers::close);
    parameters.close();
    arena.close();
    engine.close();
    communicator.close();
  }
}
