package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What computes in one process: threads, a matrix library and the kernels on top of them. Owned by
 * whoever opened it; the kernels must not be used after {@link #close}.
 */
public final class ComputeEngine implements AutoCloseable {

  private static final Logger LOG = LoggerFactory.getLogger(ComputeEngine.class);

  private static final String VECTOR_MODULE = "jdk.incubator.vector";

  /** Long enough for a steady clock, short enough for every bench run. */
  private static final int PEAK_MILLIS = 300;

  private final Kernels kernels;
  private final DecodeKernels decodeKernels;
  private final Parallel parallel;
  private final GemmBackends.Choice gemm;
  private final DType inputs;

  private ComputeEngine(
      Kernels kernels,
      DecodeKernels decodeKernels,
      Parallel parallel,
      GemmBackends.Choice gemm,
      DType measured) {
    this.kernels = kernels;
    this.decodeKernels = decodeKernels;
    this.parallel = parallel;
    this.gemm = gemm;
    // Another library than the one that was hoped for may multiply F32 only.
    this.inputs = measured == DType.BF16 ? gemm.gemm().operandType() : measured;
  }

  /**
   * Opens the fastest engine of this machine for F32 products; otherwise as {@link #open(String,
   * String, DType, int)}.
   */
  public static ComputeEngine open(String name, String gemmBackend, int threads) {
    return open(name, gemmBackend, DType.F32, threads);
  }

  /**
   * Opens the fastest engine of this machine.
   *
   * @param name prefix of the thread names, such as "rank 1"
   * @param gemmBackend "onednn", "onednn-f32", "openblas", "reference", or "auto": measures what is
   *     available and takes the first in order of preference that no other beats clearly
   * @param inputs F32 or BF16, of the products that matter most to the run: what auto measures
   * @param threads compute threads, the caller's included
   */
  public static ComputeEngine open(String name, String gemmBackend, DType inputs, int threads) {
    boolean vectors = ModuleLayer.boot().findModule(VECTOR_MODULE).isPresent();
    // Without vectors no library widens BF16, and the reference kernels need none.
    DType measured = vectors ? inputs : DType.F32;
    GemmBackends.Choice gemm = GemmBackends.open(gemmBackend, measured);
    Parallel parallel = new ThreadPoolParallel(name, threads);
    if (!vectors) {
      LOG.warn(
          "the reference kernels run, some hundred times slower: start Java with"
              + " --add-modules={} for the fast ones",
          VECTOR_MODULE);
      return new ComputeEngine(
          new ReferenceKernels(), new ReferenceDecodeKernels(), parallel, gemm, measured);
    }
    return new ComputeEngine(
        new VectorKernels(gemm.gemm(), parallel),
        new VectorDecodeKernels(gemm.gemm(), parallel),
        parallel,
        gemm,
        measured);
  }

  /** Kernels over the threads and the matrix library; for use until {@link #close}. */
  public Kernels kernels() {
    return kernels;
  }

  /** Kernels of a model that writes text, over the same; for use until {@link #close}. */
  public DecodeKernels decodeKernels() {
    return decodeKernels;
  }

  /** The compute threads. */
  public Parallel parallel() {
    return parallel;
  }

  /** F32 or BF16, what the library was chosen for. */
  public DType productInputs() {
    return inputs;
  }

  /** Name of the matrix library in use, as a checkpoint records it. */
  public String gemmName() {
    return gemm.gemm().name();
  }

  /**
   * Single-thread GFLOP/s of every library that "auto" measured; empty when a library was named.
   */
  public Map<String, Double> gemmGflops() {
    return gemm.gflops();
  }

  /**
   * Measures the library in use at 1024^3 of the run's inputs on all threads, GFLOP/s; takes about
   * a third of a second.
   */
  public double measurePeakGflops() {
    return GemmBackends.peakGflops(gemm.gemm(), inputs, parallel, PEAK_MILLIS);
  }

  @Override
  public void close() {
    parallel.close();
    gemm.gemm().close();
  }
}
