package io.sparkmoe.kernel;

/**
 * Runs independent pieces of one operation on a fixed number of threads, the caller's among them.
 * Pieces are cut by size alone, never by thread count, so results do not depend on it.
 */
public interface Parallel extends AutoCloseable {

  /** A piece of work. */
  @FunctionalInterface
  interface Body {
    void run(int piece);
  }

  /** Number of threads, the caller's included. */
  int threads();

  /**
   * Runs {@code body} once for every piece in [0, pieces) and returns when all are done; rethrows
   * the first failure.
   */
  void forEach(int pieces, Body body);

  @Override
  void close();
}
