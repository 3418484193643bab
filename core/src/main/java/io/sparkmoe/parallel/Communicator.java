package io.sparkmoe.parallel;

import java.nio.ByteBuffer;

/**
 * One end of a group of {@link #size} ranks and a driver that exchange frames. Sending never waits
 * for the receiver to take a frame; receiving waits until the frame is there, at most until the
 * deadline, and then names who is late. Frames between two ends arrive in the order sent by one
 * thread. A rank's end belongs to one thread; on the driver's end several threads may send, and one
 * per rank receive, at a time. Any thread may {@link #abort(Failure) abort}. Both implementations
 * run {@code CommunicatorContract} in the tests.
 */
public interface Communicator extends AutoCloseable {

  /** Rank of the driver's end. */
  int DRIVER = -1;

  /** This end's rank in [0, size), or {@link #DRIVER}. */
  int rank();

  /** Number of ranks, the driver not counted. */
  int size();

  /** Where a rank runs, for messages: "rank 1 (executor 0 on host-a)". */
  String describe(int rank);

  /**
   * Sends the remaining bytes of the parts, one after the other, as one frame. The buffers keep
   * their positions and may be reused on return.
   *
   * @param to a rank or {@link #DRIVER}, not this end itself
   * @throws RankLostException when the other end, or any that has aborted, is known to be gone
   * @throws RankLateException when the network has taken nothing before the deadline
   */
  void send(int to, FrameKey key, ByteBuffer... parts);

  /**
   * Waits for the frame of that key from that end.
   *
   * @return its bytes, little-endian, position 0; they belong to the caller
   * @throws RankLateException when it has not come before the deadline
   * @throws RankLostException when the sender is known to be gone
   */
  ByteBuffer receive(int from, FrameKey key);

  /**
   * Waits for the next frame from that end, of any key, in order of arrival; fails as {@link
   * #receive} does.
   */
  Frame receiveNext(int from);

  /** Bytes sent by this end so far, by kind (index = ordinal), frame headers included. */
  long[] sentBytes();

  /**
   * Tells every other end that this one, or one that it lost, has failed, so that they stop waiting
   * for anybody; never throws. What was sent before can still be received.
   */
  void abort(Failure failure);

  /** As {@link #abort(Failure)}, of this end itself. */
  default void abort(String reason) {
    abort(new Failure(rank(), reason));
  }

  /**
   * Tells every other end that this one is at work on something long: their waits for it, and their
   * deadlines, begin anew. Any thread may call it; never throws.
   */
  void keepAlive();

  /** A received frame. */
  record Frame(FrameKey key, ByteBuffer payload) {}

  @Override
  void close();
}
