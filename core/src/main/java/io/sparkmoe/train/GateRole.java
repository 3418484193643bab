package io.sparkmoe.train;

import io.sparkmoe.parallel.Communicator.Frame;
import java.util.function.BiConsumer;

/** What the driver does for the gates in a step, by where they are evaluated. */
interface GateRole extends AutoCloseable {

  /**
   * Answers the gate calls of the ranks, each rank's on a thread of its own: takes (rank, frame).
   * Null where GATE frames are no calls but reports for {@link #collect}.
   */
  BiConsumer<Integer, Frame> calls();

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
