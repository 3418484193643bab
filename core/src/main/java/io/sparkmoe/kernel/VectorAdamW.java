package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;

/** Fast AdamW: one pass over weight, moments and gradient, which it clears on the way. */
final class VectorAdamW {

  /** Elements whose moments are wide at a time. */
  private static final int BLOCK = 4096;

  private final Parallel parallel;
  private final ThreadLocal<Moments> moments = ThreadLocal.withInitial(Moments::new);

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

  /** A block of moments in F32. */
  private static final class Moments {
    final ByteBuffer first = new Scratch().floats(BLOCK);
    final ByteBuffer second = new Scratch().floats(BLOCK);
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
      Lanes.set(m, i, mean);
      Lanes.set(v, i, square);
      Lanes.set(w, i, Lanes.get(w, i) * c.keep - update(mean, square, c));
      Lanes.set(g, i, 0);
    }
  }

  private static float update(float mean, float square, Constants c) {
    return mean * c.rate / ((float) Math.sqrt(square * c.inverseCorrection2) + c.eps);
  }

  // ---- moments in BF16: rounded after they were used

  /**
   * As {@link #range}, one moment after the other, in blocks that stay in the innermost caches. In
   * one loop they exceed what the compiler inlines, and vectors become objects.
   */
  private void rangeOfBfloat16(
      ByteBuffer w, ByteBuffer m, ByteBuffer v, ByteBuffer g, Constants c, int first, int end) {
    Moments wide = moments.get();
    for (int i = first; i < end; i += BLOCK) {
      int count = Math.min(BLOCK, end - i);
      mean(wide.first, m, g, c, i, count);
      square(wide.second, v, g, c, i, count);
      update(w, wide.first, wide.second, g, c, i, count);
    }
  }

  /** The new first moments of {@code count} elements from {@code at} on, also in F32. */
  private static void mean(
      ByteBuffer wide, ByteBuffer m, ByteBuffer g, Constants c, int at, int count) {
    int bound = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector gradient = Lanes.load(g, at + i).mul(c.gradientScale);
      FloatVector old = Lanes.loadBfloat16(m, at + i);
      FloatVector mean = VectorMath.fma(gradient, VectorMath.splat(c.rest1), old.mul(c.beta1));
      Lanes.store(wide, i, mean);
      Lanes.storeUpperHalves(m, at + i, VectorBfloat16.round(mean.reinterpretAsInts()));
    }
    for (int i = bound; i < count; i++) {
      float gradient = c.gradientScale * Lanes.get(g, at + i);
      float mean = c.beta1 * Lanes.getBfloat16(m, at + i) + c.rest1 * gradient;
      Lanes.set(wide, i, mean);
      Lanes.setBfloat16(m, at + i, mean);
    }
  }

  /** The new second moments, likewise. */
  private static void square(
      ByteBuffer wide, ByteBuffer v, ByteBuffer g, Constants c, int at, int count) {
    int bound = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector gradient = Lanes.load(g, at + i).mul(c.gradientScale);
      FloatVector old = Lanes.loadBfloat16(v, at + i);
      FloatVector square = VectorMath.fma(gradient.mul(c.rest2), gradient, old.mul(c.beta2));
      Lanes.store(wide, i, square);
      Lanes.storeUpperHalves(v, at + i, VectorBfloat16.round(square.reinterpretAsInts()));
    }
    for (int i = bound; i < count; i++) {
      float gradient = c.gradientScale * Lanes.get(g, at + i);
      float square = c.beta2 * Lanes.getBfloat16(v, at + i) + c.rest2 * gradient * gradient;
      Lanes.set(wide, i, square);
      Lanes.setBfloat16(v, at + i, square);
    }
  }

  /** The new weights from the moments in F32; clears the gradient. */
  private static void update(
      ByteBuffer w, ByteBuffer m, ByteBuffer v, ByteBuffer g, Constants c, int at, int count) {
    int bound = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector divisor = Lanes.load(v, i).mul(c.inverseCorrection2).sqrt().add(c.eps);
      FloatVector update = Lanes.load(m, i).mul(c.rate).div(divisor);
      Lanes.store(w, at + i, Lanes.load(w, at + i).mul(c.keep).sub(update));
    }
    for (int i = bound; i < count; i++) {
      float update = update(Lanes.get(m, i), Lanes.get(v, i), c);
      Lanes.set(w, at + i, Lanes.get(w, at + i) * c.keep - update);
    }
    Lanes.clear(g, at, count);
  }
}
