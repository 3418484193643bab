package io.sparkmoe.train;

import io.sparkmoe.checkpoint.Moments;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.Kernels.AdamWStep;
import io.sparkmoe.model.ParameterBlock;
import io.sparkmoe.model.ParameterBlock.Segment;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.Bfloat16Half;
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

  /** First and second moments, or pairs of them in BF16. */
  private final List<Parameters> moments = new ArrayList<>();

  private final List<Run> runs = new ArrayList<>();

  /** A contiguous run of elements of equal decay. */
  private record Run(
      Part part, Tensor value, Tensor gradient, List<Tensor> moments, boolean decayed) {}

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
    for (int i = 0; i < (arePairs() ? 1 : 2); i++) {
      moments.add(
          Parameters.allocate(
              parameters.config(),
              parameters.placement(),
              rank,
              parts,
              arePairs() ? DType.I32 : config.precision().moments(),
              false,
              arena));
    }
    for (Part part : parts) {
      List<ParameterBlock> blocks = parameters.blocks(part);
      for (int i = 0; i < blocks.size(); i++) {
        int block = i;
        addRuns(
            part,
            blocks.get(i),
            moments.stream().map(moment -> moment.blocks(part).get(block)).toList());
      }
    }
  }

  private boolean arePairs() {
    return config.precision().moments() == DType.BF16;
  }

  private void addRuns(Part part, ParameterBlock block, List<ParameterBlock> moments) {
    for (Segment segment : block.segments()) {
      runs.add(
          new Run(
              part,
              block.value().view(segment.offset(), segment.size()),
              block.gradient().view(segment.offset(), segment.size()),
              moments.stream()
                  .map(moment -> moment.value().view(segment.offset(), segment.size()))
                  .toList(),
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
      AdamWStep constants =
          new AdamWStep(
              learningRate,
              config.beta1(),
              config.beta2(),
              config.eps(),
              run.decayed ? config.weightDecay() : 0,
              correction1,
              correction2,
              gradientScale,
              run.part != Part.EXPERT);
      if (arePairs()) {
        kernels.adamWBfloat16(run.value, run.moments.get(0), run.gradient, constants);
      } else {
        kernels.adamW(run.value, run.moments.get(0), run.moments.get(1), run.gradient, constants);
      }
    }
    if (config.precision().masterWeights(config.fp8Recipe()) == DType.BF16) {
      runs.forEach(run -> kernels.toBfloat16(run.value, run.value));
    }
  }

  /** The moments under the parameters' names. */
  public Moments moments() {
    return Moments.of(
        moments.get(0),
        name -> arePairs() ? Bfloat16Half.lower(held(0, name)) : held(0, name),
        name -> arePairs() ? Bfloat16Half.upper(held(0, name)) : held(1, name));
  }

  private Tensor held(int moment, String name) {
    return moments.get(moment).find(name).value();
  }

  @Override
  public void close() {
    moments.forEach(Parameters::close);
  }
}
