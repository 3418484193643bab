package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;

/** Fast AdamW: one pass over weight, moments and gradient, which it clears on the way. */
final class VectorAdamW {

  private final Parallel parallel;

  VectorAdamW(Parallel parallel) {
    this.parallel = parallel;
  }

  void step(
      Tensor weight,
      Tensor firstMoment,
      Tensor secondMoment,
      Tensor gradient,
      Kernels.AdamWStep step) {
    Constants constants = new Constants(step);
    ByteBuffer w = weight.bytes();
    ByteBuffer m = firstMoment.bytes();
    ByteBuffer v = secondMoment.bytes();
    ByteBuffer g = gradient.bytes();
    Pieces.forEach(
        parallel,
        weight.size(),
        Pieces.GRAIN,
        firstMoment.type() == DType.BF16
            ? (first, end) -> rangeOfBfloat16(w, m, v, g, constants, first, end)
            : (first, end) -> range(w, m, v, g, constants, first, end));
  }

  /** The step's constants as the inner loop uses them, folded in double. */
  private record Constants(
      float gradientScale,
      float beta1,
      float rest1,
      float beta2,
      float rest2,
      float keep,
      float rate,
      float inverseCorrection2,
      float eps) {
    Constants(Kernels.AdamWStep step) {
      this(
          (float) step.gradientScale(),
          (float) step.beta1(),
          (float) (1 - step.beta1()),
          (float) step.beta2(),
          (float) (1 - step.beta2()),
          (float) (1 - step.learningRate() * step.weightDecay()),
          (float) (step.learningRate() / step.correction1()),
          (float) (1 / step.correction2()),
          (float) step.eps());
    }
  }

  private static void range(
      ByteBuffer w, ByteBuffer m, ByteBuffer v, ByteBuffer g, Constants c, int first, int end) {
    int bound = Lanes.bound(first, end);
    for (int i = first; i < bound; i += Lanes.LENGTH) {
      FloatVector gradient = Lanes.load(g, i).mul(c.gradientScale);
      FloatVector mean =
          VectorMath.fma(gradient, VectorMath.splat(c.rest1), Lanes.load(m, i).mul(c.beta1));
      FloatVector square =
          VectorMath.fma(gradient.mul(c.rest2), gradient, Lanes.load(v, i).mul(c.beta2));
      FloatVector divisor = square.mul(c.inverseCorrection2).sqrt().add(c.eps);
      FloatVector update = mean.mul(c.rate).div(divisor);
      Lanes.store(m, i, mean);
      Lanes.store(v, i, square);
      Lanes.store(w, i, Lanes.load(w, i).mul(c.keep).sub(update));
      Lanes.store(g, i, VectorMath.zero());
    }
    for (int i = bound; i < end; i++) {
      float gradient = c.gradientScale * Lanes.get(g, i);
      float mean = c.beta1 * Lanes.get(m, i) + c.rest1 * gradient;
      float square = c.beta2 * Lanes.get(v, i) + c.rest2 * gradient * gradient;
      float update = mean * c.rate / ((float) Math.sqrt(square * c.inverseCorrection2) + c.eps);
      Lanes.set(m, i, mean);
      Lanes.set(v, i, square);
      Lanes.set(w, i, Lanes.get(w, i) * c.keep - update);
      Lanes.set(g, i, 0);
    }
  }

  /** As {@link #range} with moments that are stored in BF16, rounded after they were used. */
  private static void rangeOfBfloat16(
      ByteBuffer w, ByteBuffer m, ByteBuffer v, ByteBuffer g, Constants c, int first, int end) {
    int bound = Lanes.bound(first, end);
    for (int i = first; i < bound; i += Lanes.LENGTH) {
      FloatVector gradient = Lanes.load(g, i).mul(c.gradientScale);
      FloatVector mean =
          VectorMath.fma(
              gradient, VectorMath.splat(c.rest1), Lanes.loadBfloat16(m, i).mul(c.beta1));
      FloatVector square =
          VectorMath.fma(gradient.mul(c.rest2), gradient, Lanes.loadBfloat16(v, i).mul(c.beta2));
      FloatVector divisor = square.mul(c.inverseCorrection2).sqrt().add(c.eps);
      FloatVector update = mean.mul(c.rate).div(divisor);
      Lanes.storeUpperHalves(m, i, VectorBfloat16.round(mean.reinterpretAsInts()));
      Lanes.storeUpperHalves(v, i, VectorBfloat16.round(square.reinterpretAsInts()));
      Lanes.store(w, i, Lanes.load(w, i).mul(c.keep).sub(update));
      Lanes.store(g, i, VectorMath.zero());
    }
    for (int i = bound; i < end; i++) {
      float gradient = c.gradientScale * Lanes.get(g, i);
      float mean = c.beta1 * Lanes.getBfloat16(m, i) + c.rest1 * gradient;
      float square = c.beta2 * Lanes.getBfloat16(v, i) + c.rest2 * gradient * gradient;
      float update = mean * c.rate / ((float) Math.sqrt(square * c.inverseCorrection2) + c.eps);
      Lanes.setBfloat16(m, i, mean);
      Lanes.setBfloat16(v, i, square);
      Lanes.set(w, i, Lanes.get(w, i) * c.keep - update);
      Lanes.set(g, i, 0);
    }
  }
}
