package io.sparkmoe.parallel;

/**
 * Attributes the time of one thread to phases. At every moment exactly one phase runs, so the
 * phases of a step add up to the step. Used by a rank's main thread alone.
 */
public final class PhaseClock {

  private final long[] nanos = new long[Phase.values().length];
  private Phase current;
  private boolean pinned;
  private long since;

  /** Starts in that phase. */
  public PhaseClock(Phase first) {
    this.current = first;
    this.since = System.nanoTime();
  }

  /**
   * Ends the running phase and begins another; nothing while a phase is pinned.
   *
   * @return the phase that ended, to go back to
   */
  public Phase enter(Phase next) {
    Phase previous = current;
    if (!pinned) {
      account();
      current = next;
    }
    return previous;
  }

  /** Begins a phase that lasts until {@link #unpin}, whatever is entered within. */
  public void pin(Phase phase) {
    enter(phase);
    pinned = true;
  }

  /** Lets phases change again. */
  public void unpin() {
    pinned = false;
  }

  /**
   * Seconds by phase (index = ordinal) since the last call or the start; the running phase goes on.
   */
  public double[] lapSeconds() {
    account();
    double[] seconds = new double[nanos.length];
    for (int i = 0; i < nanos.length; i++) {
      seconds[i] = nanos[i] * 1e-9;
      nanos[i] = 0;
    }
    return seconds;
  }

  private void account() {
    long now = System.nanoTime();
    nanos[current.ordinal()] += now - since;
    since = now;
  }
}
