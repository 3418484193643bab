package io.sparkmoe.spark.cluster;

import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.sparkmoe.parallel.CorruptFrameException;
import io.sparkmoe.parallel.Failure;
import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.MailboxCommunicator;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * One end of one attempt of a run, over Spark's transport: one channel to every other end, on which
 * frames keep their order. Opened by {@link RankJoin} on a rank and by {@link Rendezvous} on the
 * driver. Several threads may send; a sender waits only while {@link Peer}'s limit of unsent chunks
 * is reached, which needs the other process's network threads to be slow, never its task.
 */
final class SparkCommunicator extends MailboxCommunicator implements Peer.Listener {

  private static final long CLOSE_SECONDS = 5;

  /** Hears of failures of other ends. */
  interface FailureListener {
    void failed(boolean fatal, Failure failure);
  }

  private final Duration deadline;
  private final String driverAddress;
  private final FailureListener failures;
  private final AtomicReferenceArray<Peer> peers;
  private final AtomicReferenceArray<String> places;
  private final AtomicBoolean closed = new AtomicBoolean();
  private SparkTransport transport;

  /**
   * An end without peers; {@link #connected} adds them.
   *
   * @param rank this end
   * @param size ranks, the driver not counted
   * @param deadline longest wait for one frame
   * @param driverAddress host and port of the driver, for messages
   * @param failures hears of failures, on an event loop thread
   */
  SparkCommunicator(
      int rank, int size, Duration deadline, String driverAddress, FailureListener failures) {
    super(rank, size, deadline);
    this.deadline = deadline;
    this.driverAddress = driverAddress;
    this.failures = failures;
    this.peers = new AtomicReferenceArray<>(size + 1);
    this.places = new AtomicReferenceArray<>(size);
  }

  /** Adds the channel to another end. */
  void connected(int to, Channel channel) {
    Peer peer = new Peer(to, channel, deadline, this);
    peers.set(to + 1, peer);
    FrameHandler.bind(channel, peer);
  }

  /** Remembers where a rank runs, for messages. */
  void placed(int rankThere, Message.Address address) {
    places.set(rankThere, "executor " + address.executorId() + " on " + address.host());
  }

  /** Closed with this end, after its channels. */
  void owns(SparkTransport transportOfThisEnd) {
    transport = transportOfThisEnd;
  }

  Peer peer(int other) {
    return peers.get(other + 1);
  }

  /** Why the group has failed, or null. */
  Failure failure() {
    return mailbox().failure();
  }

  /** The same as a sentence that names the rank and where it runs. */
  String describe(Failure failure) {
    return describe(failure.rank()) + " failed: " + failure.reason();
  }

  @Override
  public String describe(int other) {
    if (other == DRIVER) {
      return "the driver (" + driverAddress + ")";
    }
    String place = other >= 0 && other < size() ? places.get(other) : null;
    return "rank " + other + (place == null ? "" : " (" + place + ")");
  }

  @Override
  protected void move(int to, FrameKey key, int payloadBytes, ByteBuffer... parts) {
    peer(to).send(key, payloadBytes, parts);
  }

  @Override
  public void abort(Failure failure) {
    tellAll(Message.abort(false, failure));
  }

  /** As {@link #abort(Failure)}, and tells that another attempt would fail the same way. */
  void abortRun(Failure failure) {
    tellAll(Message.abort(true, failure));
  }

  @Override
  public void keepAlive() {
    tellAll(Message.bare(Message.ALIVE));
  }

  private void tellAll(ByteBuffer message) {
    for (int i = 0; i < peers.length(); i++) {
      Peer peer = peers.get(i);
      if (peer != null) {
        peer.tell(message.duplicate());
      }
    }
  }

  @Override
  public void arrived(int from, Frame frame) {
    mailbox().deliver(from, frame);
  }

  @Override
  public void failed(boolean fatal, Failure failure) {
    if (failure.rank() < DRIVER || failure.rank() >= size()) {
      throw new CorruptFrameException(
          "an abort must name the driver (-1) or a rank below "
              + size()
              + ", got "
              + failure.rank());
    }
    if (closed.get()) {
      return;
    }
    mailbox().fail(failure);
    failures.failed(fatal, failure);
  }

  @Override
  public void keptAlive(int from) {
    mailbox().keptAlive(from);
  }

  /** Sends what is still on its way, says goodbye and closes the channels. */
  @Override
  public void close() {
    if (!closed.compareAndSet(false, true)) {
      return;
    }
    mailbox().close();
    List<ChannelFuture> goodbyes = new ArrayList<>();
    for (int i = 0; i < peers.length(); i++) {
      if (peers.get(i) != null) {
        goodbyes.add(peers.get(i).leave());
      }
    }
    for (ChannelFuture goodbye : goodbyes) {
      goodbye.awaitUninterruptibly(CLOSE_SECONDS, TimeUnit.SECONDS);
    }
    for (int i = 0; i < peers.length(); i++) {
      if (peers.get(i) != null) {
        peers.get(i).close();
      }
    }
    if (transport != null) {
      transport.close();
    }
  }
}
