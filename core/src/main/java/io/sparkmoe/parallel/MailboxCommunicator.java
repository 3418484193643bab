package io.sparkmoe.parallel;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicLongArray;

/**
 * An end whose frames wait in a {@link Mailbox} until they are taken. A subclass moves frames to
 * the other ends, delivers what comes from them, and tells the mailbox of failures.
 */
public abstract class MailboxCommunicator implements Communicator {

  private final int rank;
  private final int size;
  private final Mailbox mailbox;
  private final AtomicLongArray sentBytes = new AtomicLongArray(FrameKind.values().length);

  /**
   * @param rank this end
   * @param size ranks, the driver not counted
   * @param deadline longest wait for one frame
   */
  protected MailboxCommunicator(int rank, int size, Duration deadline) {
    this.rank = rank;
    this.size = size;
    this.mailbox = new Mailbox(rank, size, deadline, this::describe);
  }

  /** What has come to this end. */
  protected final Mailbox mailbox() {
    return mailbox;
  }

  /**
   * Moves one frame to another end, as {@link #send} says.
   *
   * @param payloadBytes sum of the parts' remaining bytes
   */
  protected abstract void move(int to, FrameKey key, int payloadBytes, ByteBuffer... parts);

  @Override
  public final int rank() {
    return rank;
  }

  @Override
  public final int size() {
    return size;
  }

  @Override
  public final void send(int to, FrameKey key, ByteBuffer... parts) {
    if (to < DRIVER || to >= size || to == rank) {
      throw new IllegalArgumentException(
          describe(rank)
              + " can send to the driver (-1) and to other ranks below "
              + size
              + ", got "
              + to);
    }
    if (mailbox.failure() != null) {
      throw mailbox.lost("sending " + key);
    }
    int payloadBytes = FrameCodec.payloadBytes(key, parts);
    move(to, key, payloadBytes, parts);
    sentBytes.addAndGet(key.kind().ordinal(), FrameCodec.HEADER_BYTES + (long) payloadBytes);
  }

  @Override
  public final ByteBuffer receive(int from, FrameKey key) {
    return mailbox.receive(from, key).payload();
  }

  @Override
  public final Frame receiveNext(int from) {
    return mailbox.receiveNext(from);
  }

  @Override
  public final long[] sentBytes() {
    long[] bytes = new long[sentBytes.length()];
    for (int kind = 0; kind < bytes.length; kind++) {
      bytes[kind] = sentBytes.get(kind);
    }
    return bytes;
  }
}
