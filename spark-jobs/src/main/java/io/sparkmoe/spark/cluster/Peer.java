package io.sparkmoe.spark.cluster;

import io.netty.buffer.ByteBuf;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelOption;
import io.sparkmoe.parallel.Communicator.Frame;
import io.sparkmoe.parallel.CorruptFrameException;
import io.sparkmoe.parallel.Failure;
import io.sparkmoe.parallel.FrameCodec;
import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.RankLateException;
import io.sparkmoe.parallel.RankLostException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.apache.spark.network.buffer.NettyManagedBuffer;
import org.apache.spark.network.protocol.OneWayMessage;

/**
 * One channel to another end. A frame travels in chunks of at most {@link #CHUNK_BYTES}, each a
 * one-way message of Spark's transport, so that a frame near 2 GiB needs no message of that size on
 * the way, and buffers come from netty's pool. Sending copies once, into the chunk; receiving
 * copies once, out of it, into the frame.
 */
final class Peer {

  /**
   * Largest chunk, bytes: netty reads 64 KiB at a time and merges a chunk in a core's own cache.
   */
  static final int CHUNK_BYTES = 128 << 10;

  /** Chunks handed to netty and not yet in the socket: 64 MiB of direct memory per peer. */
  private static final int MAX_CHUNKS_IN_FLIGHT = 512;

  /** What an end does with what its peers send; called on event loop threads. */
  interface Listener {
    void arrived(int from, Frame frame);

    /**
     * An end has failed, as it or another that lost it says, or as its channel shows.
     *
     * @throws CorruptFrameException when there is no such end
     */
    void failed(boolean fatal, Failure failure);

    void keptAlive(int rank);

    String describe(int rank);
  }

  private final int rank;
  private final Channel channel;
  private final Duration deadline;
  private final Listener listener;
  private final Semaphore inFlight = new Semaphore(MAX_CHUNKS_IN_FLIGHT);

  // Touched by the channel's event loop thread only.
  private FrameKey incomingKey;
  private ByteBuffer incoming;
  private boolean left;

  /**
   * @param rank the other end
   * @param channel open channel to it
   * @param deadline longest wait for the socket to take a chunk
   */
  Peer(int rank, Channel channel, Duration deadline, Listener listener) {
    this.rank = rank;
    this.channel = channel;
    this.deadline = deadline;
    this.listener = listener;
    // A step is a chain of small frames, and each would wait for the acknowledgement of the one
    // before.
    channel.config().setOption(ChannelOption.TCP_NODELAY, true);
  }

  /** Copies a short message into a pooled buffer and sends it without waiting. */
  static ChannelFuture write(Channel channel, ByteBuffer message) {
    return write(channel, channel.alloc().directBuffer(message.remaining()).writeBytes(message));
  }

  /**
   * Sends the buffer as one of Spark's one-way messages and releases it, whatever becomes of it.
   */
  static ChannelFuture write(Channel channel, ByteBuf buffer) {
    return channel
        .writeAndFlush(new OneWayMessage(new NettyManagedBuffer(buffer)))
        .addListener(
            done -> {
              // A closed channel has lost Spark's encoder, which would have released it.
              if (!done.isSuccess() && buffer.refCnt() > 0) {
                buffer.release(buffer.refCnt());
              }
            });
  }

  /**
   * Sends one frame; the parts keep their positions and may be reused on return. Frames do not
   * interleave.
   */
  synchronized void send(FrameKey key, int payloadBytes, ByteBuffer... parts) {
    ByteBuffer header = ByteBuffer.allocate(1 + FrameCodec.HEADER_BYTES).put(Message.FRAME);
    FrameCodec.putHeader(header, key, payloadBytes);
    header.flip();
    ByteBuf chunk = newChunk(header, payloadBytes);
    int left = payloadBytes;
    for (ByteBuffer part : parts) {
      ByteBuffer source = part.duplicate();
      int end = source.limit();
      while (source.position() < end) {
        if (!chunk.isWritable()) {
          write(chunk, key);
          chunk = newChunk(Message.bare(Message.MORE), left);
        }
        int count = Math.min(end - source.position(), chunk.writableBytes());
        source.limit(source.position() + count);
        chunk.writeBytes(source);
        left -= count;
      }
    }
    write(chunk, key);
  }

  private ByteBuf newChunk(ByteBuffer start, int payloadLeft) {
    int capacity = (int) Math.min((long) start.remaining() + payloadLeft, CHUNK_BYTES);
    return channel.alloc().directBuffer(capacity, capacity).writeBytes(start);
  }

  private void write(ByteBuf chunk, FrameKey key) {
    boolean handedOver = false;
    try {
      if (!inFlight.tryAcquire(deadline.toNanos(), TimeUnit.NANOSECONDS)) {
        throw new RankLateException(
            listener.describe(rank)
                + " is late: it took none of "
                + key
                + " within "
                + deadline.toSeconds()
                + " s; see that process's log, or raise cluster.deadline_seconds if it needs"
                + " longer");
      }
      if (!channel.isActive()) {
        inFlight.release();
        throw new RankLostException(
            listener.describe(rank) + " is gone: its connection closed before " + key,
            new Failure(rank, "its connection closed before " + key));
      }
      handedOver = true;
      write(channel, chunk)
          .addListener(
              done -> {
                inFlight.release();
                if (!done.isSuccess()) {
                  channel.close();
                }
              });
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(
          "interrupted while " + key + " was sent to " + listener.describe(rank), e);
    } finally {
      if (!handedOver) {
        chunk.release();
      }
    }
  }

  /** Sends a short message without waiting; never throws. */
  ChannelFuture tell(ByteBuffer message) {
    return write(channel, message);
  }

  /** Takes a message of this channel; event loop thread only. */
  void receive(byte type, ByteBuffer message) {
    switch (type) {
      case Message.FRAME -> begin(message);
      case Message.MORE -> append(message);
      case Message.ABORT -> {
        boolean fatal = message.get() != 0;
        Failure failure = new Failure(message.getInt(), Message.getString(message));
        listener.failed(fatal, failure);
        left = true;
      }
      case Message.BYE -> left = true;
      case Message.ALIVE -> listener.keptAlive(rank);
      default ->
          throw new CorruptFrameException("a message's type must be in [1, 10], got " + type);
    }
  }

  private void begin(ByteBuffer message) {
    if (incoming != null) {
      throw new CorruptFrameException(
          incomingKey + " lacks " + incoming.remaining() + " bytes, but the next frame begins");
    }
    FrameCodec.Header header = FrameCodec.getHeader(message);
    incomingKey = header.key();
    incoming = ByteBuffer.allocate(header.payloadBytes()).order(ByteOrder.LITTLE_ENDIAN);
    append(message);
  }

  private void append(ByteBuffer message) {
    if (incoming == null || message.remaining() > incoming.remaining()) {
      throw new CorruptFrameException(
          message.remaining()
              + " bytes came for a frame that lacks "
              + (incoming == null ? 0 : incoming.remaining()));
    }
    incoming.put(message);
    if (!incoming.hasRemaining()) {
      Frame frame = new Frame(incomingKey, incoming.flip());
      incoming = null;
      listener.arrived(rank, frame);
    }
  }

  /** The channel has closed. */
  void disconnected() {
    if (!left) {
      listener.failed(
          false,
          new Failure(
              rank, "its connection closed, so its process has ended or its network is down"));
    }
  }

  /** What came over the channel was wrong; the channel is being closed. */
  void misbehaved(String reason) {
    left = true;
    listener.failed(false, new Failure(rank, reason));
  }

  /** Says goodbye; the future completes when everything sent before is in the socket. */
  ChannelFuture leave() {
    return tell(Message.bare(Message.BYE));
  }

  void close() {
    channel.close();
  }

  @Override
  public String toString() {
    return listener.describe(rank);
  }
}
