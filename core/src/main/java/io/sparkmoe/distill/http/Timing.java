package io.sparkmoe.distill.http;

import java.util.concurrent.TimeUnit;

/** Time as pacing and retries see it; tests put a clock of their own in its place. */
interface Timing {

  /** The machine's. */
  Timing SYSTEM =
      new Timing() {
        @Override
        public long nanoTime() {
          return System.nanoTime();
        }

        @Override
        public void sleep(long nanos) throws InterruptedException {
          TimeUnit.NANOSECONDS.sleep(nanos);
        }
      };

  long nanoTime();

  void sleep(long nanos) throws InterruptedException;
}
