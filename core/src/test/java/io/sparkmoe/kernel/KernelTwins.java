package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.List;
import java.util.Random;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * Runs one kernel on copies of the same tensors with the reference and with the fast twin on 1, 2
 * and 3 threads. The twin must agree with the reference within rounding, and with itself bit for
 * bit whatever the number of threads.
 */
final class KernelTwins implements AutoCloseable {

  /** Row widths that meet every loop tail: below, at and above the vector length, odd and even. */
  static final int[] SIZES = {1, 3, 7, 13, 64, 207, 702, 1025};

  /** Half a unit in the last place of a float: what one operation may lose. */
  private static final double ROUNDING = 0x1p-24;

  /**
   * Operations of an exponential and of the few steps around it, beside the sum whose length the
   * test names.
   */
  private static final int STEPS = 24;

  private static final long SEED = Long.getLong("moe.seed", 20251);

  /** What a tensor is filled with. */
  enum Fill {
    ZERO,
    LARGE,
    MIXED,
    /** Below the smallest normal float. */
    DENORMAL,
    /** Some elements of either infinity. */
    INFINITE
  }

  /** The kernel under test on one set of copies. */
  @FunctionalInterface
  interface Call {
    void run(Kernels kernels, Tensor[] tensors);
  }

  private final Arena arena = new Arena("test", 1L << 30);
  private final Random random = new Random(SEED);
  private final Gemm gemm = GemmBackends.open("onednn").gemm();
  private final List<Parallel> threads =
      Stream.of(1, 2, 3).<Parallel>map(n -> new ThreadPoolParallel("test", n)).toList();
  private final Scope scope = arena.scope();

  Tensor filled(Fill fill, int... shape) {
    Tensor tensor = scope.allocate(DType.F32, shape);
    for (int i = 0; i < tensor.size(); i++) {
      tensor.setFloat(
          i,
          switch (fill) {
            case ZERO -> 0;
            case LARGE -> 100;
            case MIXED -> (float) random.nextGaussian();
            case DENORMAL -> (float) random.nextGaussian() * 1e-40f;
            case INFINITE ->
                random.nextInt(16) == 0
                    ? Math.copySign(Float.POSITIVE_INFINITY, random.nextFloat() - 0.5f)
                    : (float) random.nextGaussian();
          });
    }
    return tensor;
  }

  Tensor mixed(int... shape) {
    return filled(Fill.MIXED, shape);
  }

  /** Values in (0, 1), as scores and second moments are. */
  Tensor positive(int... shape) {
    Tensor tensor = scope.allocate(DType.F32, shape);
    for (int i = 0; i < tensor.size(); i++) {
      tensor.setFloat(i, (float) (0.001 + 0.998 * random.nextDouble()));
    }
    return tensor;
  }

  /**
   * Whatever the arena hands out: NaN under {@code moe.poison}, so that an element not written
   * shows.
   */
  Tensor unwritten(DType type, int... shape) {
    return scope.allocate(type, shape);
  }

  Tensor unwritten(int... shape) {
    return unwritten(DType.F32, shape);
  }

  /** Indices in [low, bound). */
  Tensor indices(int low, int bound, int... shape) {
    Tensor tensor = scope.allocate(DType.I32, shape);
    for (int i = 0; i < tensor.size(); i++) {
      tensor.setInt(i, low + random.nextInt(bound - low));
    }
    return tensor;
  }

  Random random() {
    return random;
  }

  /**
   * Runs and compares every tensor, inputs too: a kernel must leave those alone.
   *
   * @param length terms of the longest sum in one result; each may lose one rounding of the largest
   *     result
   */
  void agree(String what, int length, Call call, Tensor... tensors) {
    Tensor[] expected = run(call, new ReferenceKernels(), tensors);
    Tensor[] first = null;
    for (Parallel parallel : threads) {
      Tensor[] actual = run(call, new VectorKernels(gemm, parallel), tensors);
      for (int i = 0; i < tensors.length; i++) {
        String name = what + ", tensor " + i + " " + tensors[i] + ", seed " + SEED;
        if (first == null) {
          near(name, ROUNDING * (length + STEPS), expected[i], actual[i]);
        } else {
          assertThat(firstDifference(first[i], actual[i]))
              .as("first difference of " + name + " on " + parallel.threads() + " threads")
              .isNegative();
        }
      }
      first = actual;
    }
  }

  /** As {@link #agree}, of decode kernels. */
  void agreeDecode(
      String what, int length, BiConsumer<DecodeKernels, Tensor[]> call, Tensor... tensors) {
    Tensor[] expected = run(c -> call.accept(new ReferenceDecodeKernels(), c), tensors);
    for (Parallel parallel : threads) {
      Tensor[] actual = run(c -> call.accept(new VectorDecodeKernels(gemm, parallel), c), tensors);
      for (int i = 0; i < tensors.length; i++) {
        String name = what + ", tensor " + i + " " + tensors[i] + ", seed " + SEED;
        near(name, ROUNDING * (length + STEPS), expected[i], actual[i]);
      }
    }
  }

  /**
   * As {@link #agree}, to the bit, a zero's sign too: for kernels that round in one defined way.
   */
  void sameBits(String what, Call call, Tensor... tensors) {
    Tensor[] expected = run(call, new ReferenceKernels(), tensors);
    for (Parallel parallel : threads) {
      Tensor[] actual = run(call, new VectorKernels(gemm, parallel), tensors);
      for (int i = 0; i < tensors.length; i++) {
        int at = firstDifference(expected[i], actual[i]);
        if (at >= 0) {
          throw new AssertionError(
              String.format(
                  "%s, tensor %d %s [%d] on %d threads, seed %d: expected %s, got %s",
                  what,
                  i,
                  tensors[i],
                  at,
                  parallel.threads(),
                  SEED,
                  expected[i].get(at),
                  actual[i].get(at)));
        }
      }
    }
  }

  /** Index of an element of other bits, -1 without one; what a NaN carries does not matter. */
  private static int firstDifference(Tensor expected, Tensor actual) {
    if (actual.bytes().equals(expected.bytes())) {
      return -1;
    }
    for (int i = 0; i < expected.size(); i++) {
      if (Double.doubleToLongBits(expected.get(i)) != Double.doubleToLongBits(actual.get(i))) {
        return i;
      }
    }
    return -1;
  }

  /** The reference and the fast twin. */
  List<Kernels> both() {
    return List.of(new ReferenceKernels(), new VectorKernels(gemm, threads.get(1)));
  }

  Scope scope() {
    return scope;
  }

  private Tensor[] run(Call call, Kernels kernels, Tensor[] tensors) {
    return run(copies -> call.run(kernels, copies), tensors);
  }

  private Tensor[] run(Consumer<Tensor[]> call, Tensor[] tensors) {
    Tensor[] copies = new Tensor[tensors.length];
    for (int i = 0; i < tensors.length; i++) {
      copies[i] = scope.allocate(tensors[i].type(), tensors[i].shape());
      copies[i].copyFrom(tensors[i]);
    }
    call.accept(copies);
    return copies;
  }

  /**
   * Differences are measured against the largest expected value: sums cancel, their terms' rounding
   * does not.
   */
  private static void near(String name, double tolerance, Tensor expected, Tensor actual) {
    double largest = 0;
    for (int i = 0; i < expected.size(); i++) {
      if (Double.isFinite(expected.get(i))) {
        largest = Math.max(largest, Math.abs(expected.get(i)));
      }
    }
    for (int i = 0; i < expected.size(); i++) {
      double e = expected.get(i);
      double a = actual.get(i);
      boolean same =
          e == a
              // Which of infinity and NaN comes out is left open: both stop a run.
              || !Double.isFinite(e) && !Double.isFinite(a)
              || Math.abs(e - a) <= tolerance * largest + 1e-30;
      if (!same) {
        throw new AssertionError(
            name + " [" + i + "]: expected " + e + ", got " + a + ", largest " + largest);
      }
    }
  }

  @Override
  public void close() {
    scope.close();
    threads.forEach(Parallel::close);
    gemm.close();
    arena.close();
  }
}
