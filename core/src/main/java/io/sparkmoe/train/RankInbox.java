package io.sparkmoe.train;

import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.Communicator.Frame;
import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.FrameKind;
import io.sparkmoe.train.protocol.Protocol;
import io.sparkmoe.train.protocol.Protocol.Message;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.BiConsumer;

/**
 * Receives on the driver, one thread per rank: a rank's gate calls are answered in its thread at
 * once, everything else waits for the coordinator. A failure of any thread reaches the coordinator
 * at its next wait.
 */
final class RankInbox implements AutoCloseable {

  private static final FrameKey LAST = Protocol.key(Message.DONE, 0);

  private final Communicator communicator;
  private final BiConsumer<Integer, Frame> gateCalls;
  private final List<BlockingQueue<Object>> queues = new ArrayList<>();
  private final List<Thread> threads = new ArrayList<>();
  private volatile boolean closed;

  /**
   * @param gateCalls takes (rank, frame) of GATE frames, on the rank's thread; null = they wait
   *     like all others
   */
  RankInbox(Communicator communicator, BiConsumer<Integer, Frame> gateCalls) {
    this.communicator = communicator;
    this.gateCalls = gateCalls;
    for (int rank = 0; rank < communicator.size(); rank++) {
      queues.add(new LinkedBlockingQueue<>());
    }
    for (int rank = 0; rank < communicator.size(); rank++) {
      int from = rank;
      Thread thread = new Thread(() -> pump(from), "coordinator for rank " + rank);
      thread.setDaemon(true);
      threads.add(thread);
      thread.start();
    }
  }

  /** The next waiting frame of that rank, which must have that key. */
  Frame next(int rank, FrameKey expected) {
    Object next;
    try {
      next = queues.get(rank).take();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted while waiting for " + expected, e);
    }
    if (next instanceof RuntimeException failure) {
      queues.get(rank).add(failure);
      throw failure;
    }
    if (next instanceof Error failure) {
      queues.get(rank).add(failure);
      throw failure;
    }
    Frame frame = (Frame) next;
    if (!frame.key().equals(expected)) {
      throw new IllegalStateException(
          communicator.describe(rank)
              + " sent "
              + frame.key()
              + ", expected "
              + expected
              + "; do driver and executors run the same version?");
    }
    return frame;
  }

  /** The next waiting message of that rank, which must be that one of that step. */
  <T> T next(int rank, Message message, int step, Class<T> type) {
    return Protocol.decode(next(rank, Protocol.key(message, step)).payload(), type);
  }

  private void pump(int rank) {
    try {
      while (!closed) {
        Frame frame = communicator.receiveNext(rank);
        if (gateCalls != null && frame.key().kind() == FrameKind.GATE) {
          gateCalls.accept(rank, frame);
        } else {
          queues.get(rank).add(frame);
          if (frame.key().equals(LAST)) {
            return;
          }
        }
      }
    } catch (RuntimeException | Error e) {
      // One late or lost rank keeps all others waiting: every queue gets the failure, whichever is
      // looked at first.
      queues.forEach(queue -> queue.add(e));
    }
  }

  /** Returns when no thread answers a gate call any more. */
  @Override
  public void close() {
    closed = true;
    threads.forEach(Thread::interrupt);
    Threads.join(threads);
  }
}
