package io.sparkmoe.kernel;

/**
 * Cuts ranges into pieces for {@link Parallel} by size alone, so that no result depends on the
 * number of threads.
 */
final class Pieces {

  /**
   * Elements of an element-wise piece: 64 kB of floats, worth a thread's wake-up and still in the
   * inner caches.
   */
  static final int GRAIN = 16384;

  private Pieces() {}

  /** A half-open range of work. */
  @FunctionalInterface
  interface Range {
    void run(int from, int to);
  }

  static int count(int size, int grain) {
    return (size + grain - 1) / grain;
  }

  /** Runs {@code body} over [0, size) in pieces of {@code grain}. */
  static void forEach(Parallel parallel, int size, int grain, Range body) {
    int pieces = count(size, grain);
    if (pieces == 1) {
      body.run(0, size);
      return;
    }
    parallel.forEach(pieces, piece -> body.run(piece * grain, Math.min(size, (piece + 1) * grain)));
  }

  /** Rows of {@code cols} elements that make a piece. */
  static int rowGrain(int cols) {
    return Math.max(1, GRAIN / Math.max(1, cols));
  }
}
