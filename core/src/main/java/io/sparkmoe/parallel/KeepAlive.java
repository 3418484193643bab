package io.sparkmoe.parallel;

import java.time.Duration;

/**
 * Tells the other ends, from a thread of its own, that this one is at work on something long, such
 * as a checkpoint, so that they wait beyond their deadline. Open it around that work. It falls
 * silent when the work takes longer than its own limit, and the others' deadlines count again.
 */
public final class KeepAlive implements AutoCloseable {

  /** Words within one deadline; one may be delayed by as much as a collection of garbage. */
  private static final int WORDS_PER_DEADLINE = 4;

  private final Thread thread;

  /**
   * @param deadline after which the others would give this end up
   * @param limit longest that the work may take
   */
  public KeepAlive(Communicator communicator, Duration deadline, Duration limit) {
    Duration pause = deadline.dividedBy(WORDS_PER_DEADLINE);
    long end = System.nanoTime() + limit.toNanos();
    this.thread = new Thread(() -> tell(communicator, pause, end), "keep-alive");
    thread.setDaemon(true);
    thread.start();
  }

  private static void tell(Communicator communicator, Duration pause, long endNanos) {
    try {
      while (System.nanoTime() - endNanos < 0) {
        communicator.keepAlive();
        Thread.sleep(pause.toMillis());
      }
    } catch (InterruptedException e) {
      // The work is done.
      return;
    }
  }

  /** The work is done; returns when nothing is sent any more. */
  @Override
  public void close() {
    thread.interrupt();
    boolean interrupted = false;
    while (thread.isAlive()) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
