package io.sparkmoe.parallel;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLongArray;

/**
 * Ranks and driver as threads of one process. Frames are copied, so that a sender may reuse its
 * buffers as over a network, and sizes are counted as {@link FrameCodec} would put them on the
 * wire.
 */
public final class LocalCommunicator implements Communicator {

  private final int rank;
  private final Group group;
  private final Mailbox mailbox;
  private final AtomicLongArray sentBytes = new AtomicLongArray(FrameKind.values().length);

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
    this.rank = rank;
    this.group = group;
    this.mailbox = new Mailbox(rank, numRanks, deadline, this::describe);
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
  public int rank() {
    return rank;
  }

  @Override
  public int size() {
    return group.ends.size() - 1;
  }

  @Override
  public String describe(int rank) {
    return rank == DRIVER
        ? "the driver (this process)"
        : "rank " + rank + " (a thread of this process)";
  }

  @Override
  public void send(int to, FrameKey key, ByteBuffer... parts) {
    if (to < DRIVER || to >= size() || to == rank) {
      throw new IllegalArgumentException(
          describe(rank)
              + " can send to the driver (-1) and to other ranks below "
              + size()
              + ", got "
              + to);
    }
    String failure = mailbox.failure();
    if (failure != null) {
      throw new RankLostException(failure + " (" + describe(rank) + " was sending " + key + ")");
    }
    int payloadBytes = FrameCodec.payloadBytes(key, parts);
    ByteBuffer payload = ByteBuffer.allocate(payloadBytes).order(ByteOrder.LITTLE_ENDIAN);
    FrameCodec.copy(payload, parts);
    group.end(to).mailbox.deliver(rank, new Frame(key, payload.flip()));
    sentBytes.addAndGet(key.kind().ordinal(), FrameCodec.HEADER_BYTES + payloadBytes);
  }

  @Override
  public ByteBuffer receive(int from, FrameKey key) {
    return mailbox.receive(from, key).payload();
  }

  @Override
  public Frame receiveNext(int from) {
    return mailbox.receiveNext(from);
  }

  @Override
  public long[] sentBytes() {
    long[] bytes = new long[sentBytes.length()];
    for (int kind = 0; kind < bytes.length; kind++) {
      bytes[kind] = sentBytes.get(kind);
    }
    return bytes;
  }

  @Override
  public void abort(String reason) {
    for (LocalCommunicator end : group.ends) {
      if (end != this) {
        end.mailbox.fail(rank, reason);
      }
    }
  }

  @Override
  public void close() {
    mailbox.close();
  }
}
