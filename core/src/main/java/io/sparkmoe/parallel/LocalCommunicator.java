package io.sparkmoe.parallel;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * Ranks and driver as threads of one process. Frames are copied, so that a sender may reuse its
 * buffers as over a network, and sizes are counted as {@link FrameCodec} would put them on the
 * wire.
 */
public final class LocalCommunicator extends MailboxCommunicator {

  private final Group group;

  /** A driver and its ranks. */
  public static final class Group implements AutoCloseable {
    private final List<LocalCommunicator> ends = new ArrayList<>();

    private Group(int numRanks, Duration deadline) {
      for (int rank = DRIVER; rank < numRanks; rank++) {
        ends.add(new LocalCommunicator(rank, this, numRanks, deadline));
      }
    }

    /** The driver's end. */
    public Communicator driver() {
      return end(DRIVER);
    }

    /** The end of that rank. */
    public Communicator rank(int rank) {
      return end(rank);
    }

    private LocalCommunicator end(int rank) {
      return ends.get(rank + 1);
    }

    @Override
    public void close() {
      ends.forEach(LocalCommunicator::close);
    }
  }

  private LocalCommunicator(int rank, Group group, int numRanks, Duration deadline) {
    super(rank, numRanks, deadline);
    this.group = group;
  }

  /**
   * A new group.
   *
   * @param ranks at least 1, the driver not counted
   * @param deadline longest wait for one frame
   */
  public static Group group(int ranks, Duration deadline) {
    if (ranks < 1) {
      throw new IllegalArgumentException("a group needs at least 1 rank, got " + ranks);
    }
    return new Group(ranks, deadline);
  }

  @Override
  public String describe(int other) {
    return other == DRIVER
        ? "the driver (this process)"
        : "rank " + other + " (a thread of this process)";
  }

  @Override
  protected void move(int to, FrameKey key, int payloadBytes, ByteBuffer... parts) {
    ByteBuffer payload = ByteBuffer.allocate(payloadBytes).order(ByteOrder.LITTLE_ENDIAN);
    FrameCodec.copy(payload, parts);
    group.end(to).mailbox().deliver(rank(), new Frame(key, payload.flip()));
  }

  @Override
  public void abort(Failure failure) {
    for (LocalCommunicator end : group.ends) {
      if (end != this) {
        end.mailbox().fail(failure);
      }
    }
  }

  @Override
  public void keepAlive() {
    for (LocalCommunicator end : group.ends) {
      if (end != this) {
        end.mailbox().keptAlive(rank());
      }
    }
  }

  @Override
  public void close() {
    mailbox().close();
  }
}
