package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.Random;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * What every benchmark of kernels stands on: both twins, tensors of seeded noise, and what the
 * machine can do at most, for comparison in the same run.
 */
@State(Scope.Benchmark)
public class Bench {

  private static final int PEAK_SIZE = 1024;

  /** 64 MB of floats on each side: more than a core's caches keep. */
  private static final int COPY_SIZE = 1 << 24;

  private static final int COPY_PIECE = 1 << 18;

  private static final long ARENA_BYTES = 12L << 30;

  /** Compute threads of the fast twin and of the limits. */
  @Param("2")
  public int threads;

  private final Random random = new Random(1);

  /** State of a quick generator: tensors of many millions of elements are filled. */
  private long noise = 1;

  private Arena arena;
  private io.sparkmoe.tensor.Scope tensors;
  private Gemm gemm;
  private Parallel parallel;
  private Tensor[] peak;
  private Tensor copyFrom;
  private Tensor copyTo;

  /** The twin under test. */
  public Kernels fast;

  /** The twin that defines the result. */
  public final Kernels reference = new ReferenceKernels();

  /** Products computed, which JMH divides by the time they took: GFLOP/s. */
  @State(Scope.Thread)
  @AuxCounters(AuxCounters.Type.OPERATIONS)
  public static class Products {
    /** Billions of floating-point operations, two per multiply-add. */
    public double gflops;

    /** Adds products of {@code multiplyAdds} multiply-adds. */
    public void add(double multiplyAdds) {
      gflops += 2e-9 * multiplyAdds;
    }
  }

  /** What must be read or written at least, which JMH divides by the time it took: GB/s. */
  @State(Scope.Thread)
  @AuxCounters(AuxCounters.Type.OPERATIONS)
  public static class Traffic {
    /** 10^9 bytes. */
    public double gigabytes;

    /** Adds {@code floats} floats read or written. */
    public void addFloats(double floats) {
      gigabytes += 4e-9 * floats;
    }
  }

  @Setup(Level.Trial)
  public void openEngine() {
    arena = new Arena("bench", ARENA_BYTES);
    tensors = arena.scope();
    gemm = GemmBackends.open("auto").gemm();
    parallel = new ThreadPoolParallel("bench", threads);
    fast = new VectorKernels(gemm, parallel);
  }

  @TearDown(Level.Trial)
  public void closeEngine() {
    parallel.close();
    gemm.close();
    tensors.close();
    arena.close();
  }

  /** Where a benchmark that needs its own tensors takes them from. */
  public Arena arena() {
    return arena;
  }

  /** A tensor to be written. */
  public Tensor unwritten(DType type, int... shape) {
    return tensors.allocate(type, shape);
  }

  /** Values of mean 0 and deviation 1. */
  public Tensor random(int... shape) {
    return random(1, shape);
  }

  /** Values of mean 0 and the given deviation, evenly distributed. */
  public Tensor random(double deviation, int... shape) {
    Tensor tensor = tensors.allocate(DType.F32, shape);
    float unit = (float) (deviation * Math.sqrt(3) * 0x1p-31);
    for (int i = 0; i < tensor.size(); i++) {
      // Knuth's MMIX generator, its upper half.
      noise = noise * 6364136223846793005L + 1442695040888963407L;
      tensor.setFloat(i, unit * (int) (noise >>> 32));
    }
    return tensor;
  }

  /** Values in (0, 1), as scores and second moments are. */
  public Tensor positive(int... shape) {
    Tensor tensor = random(shape);
    fast.sigmoid(tensor, tensor);
    return tensor;
  }

  /** Integers in [0, bound). */
  public Tensor indices(int bound, int... shape) {
    Tensor tensor = tensors.allocate(DType.I32, shape);
    for (int i = 0; i < tensor.size(); i++) {
      tensor.setInt(i, random.nextInt(bound));
    }
    return tensor;
  }

  /** The same integer everywhere. */
  public Tensor constant(int value, int... shape) {
    Tensor tensor = tensors.allocate(DType.I32, shape);
    for (int i = 0; i < tensor.size(); i++) {
      tensor.setInt(i, value);
    }
    return tensor;
  }

  /** Row numbers of {@code experts} experts with random loads that sum up to {@code rows}. */
  public int[] rowStarts(int experts, int rows) {
    int[] starts = new int[experts + 1];
    for (int row = 0; row < rows; row++) {
      starts[random.nextInt(experts) + 1]++;
    }
    for (int e = 0; e < experts; e++) {
      starts[e + 1] += starts[e];
    }
    return starts;
  }

  /** One product of 1024^3 a thread: the rate that {@code gemmEfficiency} is measured against. */
  public void gemmPeak(Products products) {
    if (peak == null) {
      peak = new Tensor[3 * threads];
      for (int i = 0; i < peak.length; i++) {
        peak[i] = random(PEAK_SIZE, PEAK_SIZE);
      }
    }
    parallel.forEach(
        threads,
        piece ->
            gemm.multiply(
                false,
                true,
                PEAK_SIZE,
                PEAK_SIZE,
                PEAK_SIZE,
                peak[3 * piece].address(),
                PEAK_SIZE,
                peak[3 * piece + 1].address(),
                PEAK_SIZE,
                peak[3 * piece + 2].address(),
                PEAK_SIZE,
                false));
    products.add((double) threads * PEAK_SIZE * PEAK_SIZE * PEAK_SIZE);
  }

  /** A copy between tensors too large for the caches, cut up for the threads; reads plus writes. */
  public void copy(Traffic traffic) {
    if (copyFrom == null) {
      copyFrom = random(COPY_SIZE);
      copyTo = random(COPY_SIZE);
    }
    Pieces.forEach(
        parallel,
        COPY_SIZE,
        COPY_PIECE,
        (first, end) ->
            Lanes.copy(copyTo.bytes(), first, copyFrom.bytes(), first, end - first));
    traffic.addFloats(2.0 * COPY_SIZE);
  }

  /**
   * Throws unless both twins give the same.
   *
   * @param tolerance largest difference, relative to the largest value
   */
  public static void requireEqual(String what, Tensor expected, Tensor actual, double tolerance) {
    double largest = 1e-30;
    for (int i = 0; i < expected.size(); i++) {
      largest = Math.max(largest, Math.abs(expected.get(i)));
    }
    for (int i = 0; i < expected.size(); i++) {
      if (!(Math.abs(expected.get(i) - actual.get(i)) <= tolerance * largest)) {
        throw new AssertionError(
            what + " " + i + ": expected " + expected.get(i) + ", got " + actual.get(i));
      }
    }
  }
}
