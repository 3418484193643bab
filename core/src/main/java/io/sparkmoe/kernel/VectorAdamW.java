package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Bfloat16;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.ShortBuffer;
import java.util.List;
import jdk.incubator.vector.FloatVector;

/** Fast AdamW: one pass over weight, moments and gradient, which it may clear on the way. */
final class VectorAdamW {

  /** Elements of a block: more, and memory waits while arrays are worked on; fewer cost calls. */
  private static final int BLOCK = 256;

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

  /** A thread's copy of some elements of the four tensors. */
  private static final class Block {
    final float[] weight = new float[BLOCK];
    final short[] firstMoment = new short[BLOCK];
    final short[] secondMoment = new short[BLOCK];
    final float[] gradient = new float[BLOCK];
    final float[] mean = new float[BLOCK];
    final float[] square = new float[BLOCK];
    Constants constants;
    int count;
  }

  /**
   * As {@link #range}, in blocks that are copied to arrays and back: there a load or store is one
   * instruction, and in one loop over byte buffers this exceeds what the compiler inlines.
   */
  private void rangeOfBfloat16(
      ByteBuffer w, ByteBuffer m, ByteBuffer v, ByteBuffer g, Constants c, int first, int end) {
    FloatBuffer weight = w.asFloatBuffer();
    ShortBuffer firstMoment = m.asShortBuffer();
    ShortBuffer secondMoment = v.asShortBuffer();
    FloatBuffer gradient = g.asFloatBuffer();
    Block block = blocks.get();
    block.constants = c;
    for (int at = first; at < end; at += BLOCK) {
      int count = Math.min(BLOCK, end - at);
      weight.get(at, block.weight, 0, count);
      firstMoment.get(at, block.firstMoment, 0, count);
      secondMoment.get(at, block.secondMoment, 0, count);
      gradient.get(at, block.gradient, 0, count);
      block.count = count;
      for (Pass<Block> pass : passes) {
        pass.run(block);
      }
      weight.put(at, block.weight, 0, count);
      firstMoment.put(at, block.firstMoment, 0, count);
      secondMoment.put(at, block.secondMoment, 0, count);
      if (c.clearsGradient) {
        Lanes.clear(g, at, count);
      }
    }
  }

  private static void firstMoment(Block b) {
    Constants c = b.constants;
    int bound = Lanes.FLOATS.loopBound(b.count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector gradient = Lanes.load(b.gradient, i).mul(c.gradientScale);
      FloatVector old = Lanes.loadBfloat16(b.firstMoment, i).mul(c.beta1);
      FloatVector mean = floored(VectorMath.fma(gradient, VectorMath.splat(c.rest1), old));
      Lanes.store(b.mean, i, mean);
      Lanes.storeUpperHalves(b.firstMoment, i, VectorBfloat16.round(mean.reinterpretAsInts()));
    }
    for (int i = bound; i < b.count; i++) {
      float gradient = c.gradientScale * b.gradient[i];
      float mean = floored(c.beta1 * Bfloat16.decode(b.firstMoment[i]) + c.rest1 * gradient);
      b.mean[i] = mean;
      b.firstMoment[i] = Bfloat16.encode(mean);
    }
  }

  private static void secondMoment(Block b) {
    Constants c = b.constants;
    int bound = Lanes.FLOATS.loopBound(b.count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector gradient = Lanes.load(b.gradient, i).mul(c.gradientScale);
      FloatVector old = Lanes.loadBfloat16(b.secondMoment, i).mul(c.beta2);
      FloatVector square = floored(VectorMath.fma(gradient.mul(c.rest2), gradient, old));
      Lanes.store(b.square, i, square);
      Lanes.storeUpperHalves(b.secondMoment, i, VectorBfloat16.round(square.reinterpretAsInts()));
    }
    for (int i = bound; i < b.count; i++) {
      float gradient = c.gradientScale * b.gradient[i];
      float old = Bfloat16.decode(b.secondMoment[i]);
      float square = floored(c.beta2 * old + c.rest2 * gradient * gradient);
      b.square[i] = square;
      b.secondMoment[i] = Bfloat16.encode(square);
    }
  }

  private static void weight(Block b) {
    Constants c = b.constants;
    int bound = Lanes.FLOATS.loopBound(b.count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector divisor = Lanes.load(b.square, i).mul(c.inverseCorrection2).sqrt().add(c.eps);
      FloatVector update = Lanes.load(b.mean, i).mul(c.rate).div(divisor);
      Lanes.store(b.weight, i, Lanes.load(b.weight, i).mul(c.keep).sub(update));
    }
    for (int i = bound; i < b.count; i++) {
      b.weight[i] = b.weight[i] * c.keep - update(b.mean[i], b.square[i], c);
    }
  }
}
