package io.sparkmoe.distill.http;

import java.time.Duration;

/**
 * When the next request to a host may start: evenly spaced, and not before a pause that the host
 * asked for is over. Several threads share one.
 */
final class Pace {

  private final Timing timing;
  private final long intervalNanos;
  private long nextNanos;

  /**
   * @param requestsPerSecond most starts per second; 0 = no limit
   */
  Pace(double requestsPerSecond, Timing timing) {
    this.timing = timing;
    this.intervalNanos = requestsPerSecond == 0 ? 0 : (long) (1e9 / requestsPerSecond);
    this.nextNanos = timing.nanoTime();
  }

  /** Waits for this thread's turn. */
  void await() throws InterruptedException {
    while (true) {
      long waitNanos;
      synchronized (this) {
        long now = timing.nanoTime();
        waitNanos = nextNanos - now;
        if (waitNanos <= 0) {
          nextNanos = now + intervalNanos;
          return;
        }
      }
      // A turn is taken only when it comes: a pause may be asked for meanwhile.
      timing.sleep(waitNanos);
    }
  }

  /** No request starts before this much time has passed. */
  synchronized void pause(Duration pause) {
    long until = timing.nanoTime() + pause.toNanos();
    if (until - nextNanos > 0) {
      nextNanos = until;
    }
  }
}
