package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Bfloat16;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.List;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/** Fast AdamW: one pass over weight, moments and gradient, which it may clear on the way. */
final class VectorAdamW {

  /** Elements of a block: more, and memory waits while the weight is; fewer cost calls. */
  private static final int BLOCK = 512;

  /**
   * Added to a moment and taken off again, it leaves multiples of 2^-103. Without gradients a
   * moment would fade to numbers below 2^-126 and stay there, on which processors compute a hundred
   * times slower; beside an eps of 1e-12 or more what is lost changes no weight.
   */
  private static final float FLOOR = 0x1p-80f;

  private static final FloatVector FLOORS = VectorMath.splat(FLOOR);

  private static final IntVector ONES = IntVector.broadcast(Lanes.INTS, 1);

  /** Half a step of BF16, less one bit of a float. */
  private static final IntVector HALF_STEPS = IntVector.broadcast(Lanes.INTS, 0x7FFF);

  private static final IntVector UPPER_HALVES = IntVector.broadcast(Lanes.INTS, 0xFFFF0000);

  private final Parallel parallel;
  private final ThreadLocal<Block> blocks = ThreadLocal.withInitial(Block::new);
  private final List<Pass<Block>> passes =
      List.of(VectorAdamW::moments, VectorAdamW::weight, VectorAdamW::clearGradient);

  VectorAdamW(Parallel parallel) {
    this.parallel = parallel;
  }

  /** See {@link Kernels#adamW}. */
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
        (first, end) -> range(w, m, v, g, constants, first, end));
  }

  /** See {@link Kernels#adamWBfloat16}. */
  void stepOfBfloat16(Tensor weight, Tensor moments, Tensor gradient, Kernels.AdamWStep step) {
    Constants constants = new Constants(step);
    ByteBuffer w = weight.bytes();
    ByteBuffer pairs = moments.bytes();
    ByteBuffer g = gradient.bytes();
    Pieces.forEach(
        parallel,
        weight.size(),
        Pieces.GRAIN,
        (first, end) -> rangeOfBfloat16(w, pairs, g, constants, first, end));
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
    FloatVector scale = VectorMath.splat(c.gradientScale);
    FloatVector beta1 = VectorMath.splat(c.beta1);
    FloatVector rest1 = VectorMath.splat(c.rest1);
    FloatVector beta2 = VectorMath.splat(c.beta2);
    FloatVector rest2 = VectorMath.splat(c.rest2);
    FloatVector keep = VectorMath.splat(c.keep);
    FloatVector rate = VectorMath.splat(c.rate);
    FloatVector inverseCorrection2 = VectorMath.splat(c.inverseCorrection2);
    FloatVector eps = VectorMath.splat(c.eps);
    for (int i = first; i < bound; i += Lanes.LENGTH) {
      FloatVector gradient = Lanes.load(g, i).mul(scale);
      FloatVector mean = floored(VectorMath.fma(gradient, rest1, Lanes.load(m, i).mul(beta1)));
      FloatVector square =
          floored(VectorMath.fma(gradient.mul(rest2), gradient, Lanes.load(v, i).mul(beta2)));
      FloatVector divisor = square.mul(inverseCorrection2).sqrt().add(eps);
      FloatVector update = mean.mul(rate).div(divisor);
      Lanes.store(m, i, mean);
      Lanes.store(v, i, square);
      Lanes.store(w, i, Lanes.load(w, i).mul(keep).sub(update));
    }
    for (int i = bound; i < end; i++) {
      float gradient = c.gradientScale * Lanes.get(g, i);
      float mean = floored(c.beta1 * Lanes.get(m, i) + c.rest1 * gradient);
      float square = floored(c.beta2 * Lanes.get(v, i) + c.rest2 * gradient * gradient);
      Lanes.set(m, i, mean);
      Lanes.set(v, i, square);
      Lanes.set(w, i, Lanes.get(w, i) * c.keep - update(mean, square, c));
    }
    if (c.clearsGradient) {
      Lanes.clear(g, first, end - first);
    }
  }

  private static FloatVector floored(FloatVector moment) {
    return moment.add(FLOORS).sub(FLOORS);
  }

  private static float floored(float moment) {
    return moment + FLOOR - FLOOR;
  }

  private static float update(float mean, float square, Constants c) {
    return mean * c.rate / ((float) Math.sqrt(square * c.inverseCorrection2) + c.eps);
  }

  // ---- moments in BF16

  /** Elements of a tensor that are worked on in one pass after the other, and their update. */
  private static final class Block {
    final float[] update = new float[BLOCK];
    ByteBuffer weight;
    ByteBuffer moments;
    ByteBuffer gradient;
    Constants constants;
    int at;
    int count;
  }

  /**
   * As {@link #range}, in passes over a block that stays in the first-level cache: one loop with
   * all of it has more nodes than the compiler inlines operations of vectors up to.
   */
  private void rangeOfBfloat16(
      ByteBuffer w, ByteBuffer moments, ByteBuffer g, Constants c, int first, int end) {
    Block block = blocks.get();
    block.weight = w;
    block.moments = moments;
    block.gradient = g;
    block.constants = c;
    for (int at = first; at < end; at += BLOCK) {
      block.at = at;
      block.count = Math.min(BLOCK, end - at);
      for (Pass<Block> pass : passes) {
        pass.run(block);
      }
    }
  }

  /** New moments, and what they make of the weight. */
  private static void moments(Block b) {
    Constants c = b.constants;
    ByteBuffer gradients = b.gradient;
    ByteBuffer pairs = b.moments;
    float[] updates = b.update;
    FloatVector scale = VectorMath.splat(c.gradientScale);
    FloatVector beta1 = VectorMath.splat(c.beta1);
    FloatVector rest1 = VectorMath.splat(c.rest1);
    FloatVector beta2 = VectorMath.splat(c.beta2);
    FloatVector rest2 = VectorMath.splat(c.rest2);
    FloatVector rate = VectorMath.splat(c.rate);
    FloatVector inverseCorrection2 = VectorMath.splat(c.inverseCorrection2);
    FloatVector eps = VectorMath.splat(c.eps);
    int bound = Lanes.FLOATS.loopBound(b.count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      int at = b.at + i;
      FloatVector gradient = Lanes.load(gradients, at).mul(scale);
      IntVector pair = Lanes.loadInts(pairs, at);
      FloatVector oldMean = pair.lanewise(VectorOperators.LSHL, Short.SIZE).reinterpretAsFloats();
      FloatVector oldSquare = pair.and(UPPER_HALVES).reinterpretAsFloats();
      FloatVector mean = floored(VectorMath.fma(gradient, rest1, oldMean.mul(beta1)));
      FloatVector square =
          floored(VectorMath.fma(gradient.mul(rest2), gradient, oldSquare.mul(beta2)));
      FloatVector divisor = square.mul(inverseCorrection2).sqrt().add(eps);
      Lanes.store(updates, i, mean.mul(rate).div(divisor));
      IntVector lower = rounded(mean).lanewise(VectorOperators.LSHR, Short.SIZE);
      Lanes.storeInts(pairs, at, rounded(square).and(UPPER_HALVES).or(lower));
    }
    for (int i = bound; i < b.count; i++) {
      float gradient = c.gradientScale * Lanes.get(gradients, b.at + i);
      int at = (b.at + i) * Integer.BYTES;
      int pair = pairs.getInt(at);
      float oldMean = Bfloat16.decode((short) pair);
      float oldSquare = Bfloat16.decode((short) (pair >>> Short.SIZE));
      float mean = floored(c.beta1 * oldMean + c.rest1 * gradient);
      float square = floored(c.beta2 * oldSquare + c.rest2 * gradient * gradient);
      updates[i] = update(mean, square, c);
      int lower = Bfloat16.encode(mean) & 0xFFFF;
      pairs.putInt(at, Bfloat16.encode(square) << Short.SIZE | lower);
    }
  }

  /** The upper 16 bits become the nearest BF16, ties to even, of what is no NaN. */
  private static IntVector rounded(FloatVector x) {
    IntVector bits = x.reinterpretAsInts();
    IntVector odd = bits.lanewise(VectorOperators.LSHR, Short.SIZE).and(ONES);
    return bits.add(HALF_STEPS).add(odd);
  }

  private static void weight(Block b) {
    float keep = b.constants.keep;
    int bound = Lanes.FLOATS.loopBound(b.count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector kept = Lanes.load(b.weight, b.at + i).mul(keep);
      Lanes.store(b.weight, b.at + i, kept.sub(Lanes.load(b.update, i)));
    }
    for (int i = bound; i < b.count; i++) {
      Lanes.set(b.weight, b.at + i, Lanes.get(b.weight, b.at + i) * keep - b.update[i]);
    }
  }

  private static void clearGradient(Block b) {
    if (b.constants.clearsGradient) {
      Lanes.clear(b.gradient, b.at, b.count);
    }
  }
}
