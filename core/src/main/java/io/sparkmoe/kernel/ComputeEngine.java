package io.sparkmoe.kernel;

/**
 * What computes in one process: threads, a matrix library and the kernels on top of them. Owned by
 * whoever opened it; the kernels must not be used after {@link #close}.
 */
public final class ComputeEngine implements AutoCloseable {

  private final Kernels kernels;
  private final Parallel parallel;
  private final Gemm gemm;

  private ComputeEngine(Kernels kernels, Parallel parallel, Gemm gemm) {
    this.kernels = kernels;
    this.parallel = parallel;
    this.gemm = gemm;
  }

  /**
   * Opens the fastest engine of this machine.
   *
   * @param name prefix of the thread names, such as "rank 1"
   * @param gemmBackend "onednn", "openblas", "reference", or "auto": measures what is available and
   *     takes the fastest
   * @param threads compute threads, the caller's included
   */
  public static ComputeEngine open(String name, String gemmBackend, int threads) {
    return new ComputeEngine(
        new ReferenceKernels(), new ThreadPoolParallel(name, threads), new ReferenceGemm());
  }

  public Kernels kernels() {
    return kernels;
  }

  public Parallel parallel() {
    return parallel;
  }

  /** Name of the matrix library in use, as a checkpoint records it. */
  public String gemmName() {
    return gemm.name();
  }

  @Override
  public void close() {
    parallel.close();
    gemm.close();
  }
}
