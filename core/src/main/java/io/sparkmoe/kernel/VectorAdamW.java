package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.List;
import jdk.incubator.vector.FloatVector;

/** Fast AdamW: one pass over weight, moments and gradient, which it may clear on the way. */
final class VectorAdamW {

  /** Elements of a block. */
  private static final int BLOCK = 4096;

  /**
   * Added to a moment and taken off again, it leaves multiples of 2^-103. Without gradients a
   * moment would fade to numbers below 2^-126 and stay there, on which processors compute a hundred
   * times slower; beside an eps of 1e-12 or more what is lost changes no weight.
   */
  private static final float FLOOR = 0x1p-80f;

  private final Parallel parallel;
  private final ThreadLocal<Block> blocks = ThreadLocal.withInitial(Block::new);
  private final List<Pass<Block>> passes =
      List.of(VectorAdamW::firstMoment, VectorAdamW::secondMoment, VectorAdamW::weight);

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
      float eps,
      boolean clearsGradient) {
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
          (float) step.eps(),
          step.clearsGradient());
    }
  }

  private static void range(
      ByteBuffer w, ByteBuffer m, ByteBuffer v, ByteBuffer g, Constants c, int first, int end) {
    int bound = Lanes.bound(first, end);
    for (int i = first; i < bound; i += Lanes.LENGTH) {
      FloatVector gradient = Lanes.load(g, i).mul(c.gradientScale);
      FloatVector mean =
          floored(
              VectorMath.fma(gradient, VectorMath.splat(c.rest1), Lanes.load(m, i).mul(c.beta1)));
      FloatVector square =
          floored(VectorMath.fma(gradient.mul(c.rest2), gradient, Lanes.load(v, i).mul(c.beta2)));
      FloatVector divisor = square.mul(c.inverseCorrection2).sqrt().add(c.eps);
      FloatVector update = mean.mul(c.rate).div(divisor);
      Lanes.store(m, i, mean);
      Lanes.store(v, i, square);
      Lanes.store(w, i, Lanes.load(w, i).mul(c.keep).sub(update));
      if (c.clearsGradient) {
        Lanes.store(g, i, VectorMath.zero());
      }
    }
    for (int i = bound; i < end; i++) {
      float gradient = c.gradientScale * Lanes.get(g, i);
      float mean = floored(c.beta1 * Lanes.get(m, i) + c.rest1 * gradient);
      float square = floored(c.beta2 * Lanes.get(v, i) + c.rest2 * gradient * gradient);
      Lanes.set(m, i, mean);
      Lanes.set(v, i, square);
      Lanes.set(w, i, Lanes.get(w, i) * c.keep - update(mean, square, c));
      if (c.clearsGradient) {
        Lanes.set(g, i, 0);
      }
    }
  }

  private static FloatVector floored(FloatVector moment) {
    return moment.add(FLOOR).sub(FLOOR);
  }

  private static float floored(float moment) {
    return moment + FLOOR - FLOOR;
  }

  private static float update(float mean, float square, Constants c) {
    return mean * c.rate / ((float) Math.sqrt(square * c.inverseCorrection2) + c.eps);
  }

  // ---- moments in BF16: rounded after they were used

  /** Elements [at, at + count) of the four tensors, and their moments in F32. */
  private static final class Block {
    final ByteBuffer wideFirst = new Scratch().floats(BLOCK);
    final ByteBuffer wideSecond = new Scratch().floats(BLOCK);
    ByteBuffer weight;
    ByteBuffer firstMoment;
    ByteBuffer secondMoment;
    ByteBuffer gradient;
    Constants constants;
    int at;
    int count;
  }

  /**
   * As {@link #range}, one moment after the other, in blocks that stay in the inner caches: in one
   * loop they exceed what the compiler inlines, and vectors become objects.
   */
  private void rangeOfBfloat16(
      ByteBuffer w, ByteBuffer m, ByteBuffer v, ByteBuffer g, Constants c, int first, int end) {
    Block block = blocks.get();
    block.weight = w;
    block.firstMoment = m;
    block.secondMoment = v;
    block.gradient = g;
    block.constants = c;
    for (block.at = first; block.at < end; block.at += BLOCK) {
      block.count = Math.min(BLOCK, end - block.at);
      for (Pass<Block> pass : passes) {
        pass.run(block);
      }
    }
  }

  private static void firstMoment(Block b) {
    Constants c = b.constants;
    int bound = Lanes.FLOATS.loopBound(b.count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector gradient = Lanes.load(b.gradient, b.at + i).mul(c.gradientScale);
      FloatVector old = Lanes.loadBfloat16(b.firstMoment, b.at + i);
      FloatVector mean =
          floored(VectorMath.fma(gradient, VectorMath.splat(c.rest1), old.mul(c.beta1)));
      Lanes.store(b.wideFirst, i, mean);
      Lanes.storeUpperHalves(
          b.firstMoment, b.at + i, VectorBfloat16.round(mean.reinterpretAsInts()));
    }
    for (int i = bound; i < b.count; i++) {
      float gradient = c.gradientScale * Lanes.get(b.gradient, b.at + i);
      float old = Lanes.getBfloat16(b.firstMoment, b.at + i);
      float mean = floored(c.beta1 * old + c.rest1 * gradient);
      Lanes.set(b.wideFirst, i, mean);
      Lanes.setBfloat16(b.firstMoment, b.at + i, mean);
    }
  }

  private static void secondMoment(Block b) {
    Constants c = b.constants;
    int bound = Lanes.FLOATS.loopBound(b.count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector gradient = Lanes.load(b.gradient, b.at + i).mul(c.gradientScale);
      FloatVector old = Lanes.loadBfloat16(b.secondMoment, b.at + i);
      FloatVector square =
          floored(VectorMath.fma(gradient.mul(c.rest2), gradient, old.mul(c.beta2)));
      Lanes.store(b.wideSecond, i, square);
      Lanes.storeUpperHalves(
          b.secondMoment, b.at + i, VectorBfloat16.round(square.reinterpretAsInts()));
    }
    for (int i = bound; i < b.count; i++) {
      float gradient = c.gradientScale * Lanes.get(b.gradient, b.at + i);
      float old = Lanes.getBfloat16(b.secondMoment, b.at + i);
      float square = floored(c.beta2 * old + c.rest2 * gradient * gradient);
      Lanes.set(b.wideSecond, i, square);
      Lanes.setBfloat16(b.secondMoment, b.at + i, square);
    }
  }

  /** New weights; the gradient has served. */
  private static void weight(Block b) {
    Constants c = b.constants;
    int bound = Lanes.FLOATS.loopBound(b.count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector square = Lanes.load(b.wideSecond, i);
      FloatVector divisor = square.mul(c.inverseCorrection2).sqrt().add(c.eps);
      FloatVector update = Lanes.load(b.wideFirst, i).mul(c.rate).div(divisor);
      Lanes.store(b.weight, b.at + i, Lanes.load(b.weight, b.at + i).mul(c.keep).sub(update));
    }
    for (int i = bound; i < b.count; i++) {
      float update = update(Lanes.get(b.wideFirst, i), Lanes.get(b.wideSecond, i), c);
      Lanes.set(b.weight, b.at + i, Lanes.get(b.weight, b.at + i) * c.keep - update);
    }
    if (c.clearsGradient) {
      Lanes.clear(b.gradient, b.at, b.count);
    }
  }
}
