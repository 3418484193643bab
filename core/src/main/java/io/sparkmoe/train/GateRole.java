package io.sparkmoe.train;

import io.sparkmoe.parallel.Communicator.Frame;

/** What the driver does for the gates in a step, by where they are evaluated. */
interface GateRole extends AutoCloseable {

  /** Answers a gate call of a rank, on the rank's thread. */
  void handle(int rank, Frame call);

  /** Whether GATE frames are calls to {@link #handle}, rather than reports for {@link #collect}. */
  boolean answersCalls();

  /**
   * Sums the ranks' gate gradients into the owner's, in rank order.
   *
   * @param loads tokens by MoE layer and expert, (L, E), added to
   */
  void collect(int step, RankInbox inbox, long[][] loads);

  /** Makes the updated gates known to whoever evaluates them and begins a new step. */
  void publish(int step);

  @Override
  void close();
}
