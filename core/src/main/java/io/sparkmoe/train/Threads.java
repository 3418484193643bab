package io.sparkmoe.train;

import java.util.List;

/** Waits for threads whose memory is about to be given back. */
final class Threads {

  private Threads() {}

  /**
   * Waits until all have ended, interrupted or not: a thread that still ran would read off-heap
   * memory that is no longer its own. An interrupt is kept for later.
   */
  static void join(List<Thread> threads) {
    boolean interrupted = false;
    for (Thread thread : threads) {
      while (thread.isAlive()) {
        try {
          thread.join();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
