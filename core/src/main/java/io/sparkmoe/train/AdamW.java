package io.sparkmoe.train;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.Kernels.AdamWStep;
import io.sparkmoe.model.ParameterBlock;
import io.sparkmoe.model.ParameterBlock.Segment;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * AdamW over the parameters that one end holds. Moments have the layout and the names of the
 * parameters, so a checkpoint finds them by name; their type follows the run's {@link Precision}.
 * Matrices are decayed, norm weights are not.
 */
public final class AdamW implements AutoCloseable {

  private final TrainConfig config;
  private final Kernels kernels;
  private final Parameters firstMoments;
  private final Parameters secondMoments;
  private final List<Run> runs = new ArrayList<>();

  /** A contiguous run of elements of equal decay. */
  private record Run(
      Part part, Tensor value, Tensor gradient, Tensor first, Tensor second, boolean decayed) {}

  /**
   * @param parameters what to optimize
   * @param rank whose experts the parameters hold
   * @param parts the parts that the parameters hold
   */
  public AdamW(
      TrainConfig config,
      Parameters parameters,
      int rank,
      Set<Part> parts,
      Kernels kernels,
      Arena arena) {
    this.config = config;
    this.kernels = kernels;
    this.firstMoments = moments(parameters, rank, parts, arena);
    this.secondMoments = moments(parameters, rank, parts, arena);
    for (Part part : parts) {
      List<ParameterBlock> blocks = parameters.blocks(part);
      for (int i = 0; i < blocks.size(); i++) {
        addRuns(
            part,
            blocks.get(i),
            firstMoments.blocks(part).get(i),
            secondMoments.blocks(part).get(i));
      }
    }
  }

  private Parameters moments(Parameters parameters, int rank, Set<Part> parts, Arena arena) {
    return Parameters.allocate(
        parameters.config(),
        parameters.placement(),
        rank,
        parts,
        config.precision().moments(),
        false,
        arena);
  }

  private void addRuns(
      Part part, ParameterBlock block, ParameterBlock first, ParameterBlock second) {
    for (Segment segment : block.segments()) {
      runs.add(
          new Run(
              part,
              block.value().view(segment.offset(), segment.size()),
              block.gradient().view(segment.offset(), segment.size()),
              first.value().view(segment.offset(), segment.size()),
              second.value().view(segment.offset(), segment.size()),
              segment.decayed()));
    }
  }

  /**
   * Takes one step and sets the gradients to zero but those of experts: there are many, most of the
   * step's traffic, and their layers replace them in the next backward.
   *
   * @param step optimizer step, from 1, for the bias correction
   * @param gradientScale factor of every gradient, from clipping
   */
  public void step(int step, double learningRate, double gradientScale) {
    double correction1 = 1 - Math.pow(config.beta1(), step);
    double correction2 = 1 - Math.pow(config.beta2(), step);
    for (Run run : runs) {
      kernels.adamW(
          run.value,
          run.first,
          run.second,
          run.gradient,
          new AdamWStep(
              learningRate,
              config.beta1(),
              config.beta2(),
              config.eps(),
              run.decayed ? config.weightDecay() : 0,
              correction1,
              correction2,
              gradientScale,
              run.part != Part.EXPERT));
    }
    if (config.precision().masterWeights(config.fp8Recipe()) == DType.BF16) {
      runs.forEach(run -> kernels.toBfloat16(run.value, run.value));
    }
  }

  /** First moments under the parameters' names. */
  public Parameters firstMoments() {
    return firstMoments;
  }

  /** Second moments under the parameters' names. */
  public Parameters secondMoments() {
    return secondMoments;
  }

  @Override
  public void close() {
    firstMoments.close();
    secondMoments.close();
  }
}
