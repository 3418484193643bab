package io.sparkmoe.train;

import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.Communicator.Frame;
import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.FrameKind;
import io.sparkmoe.parallel.RankLateException;
import io.sparkmoe.train.protocol.Protocol;
import io.sparkmoe.train.protocol.Protocol.Message;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.BiConsumer;

/**
 * Receives on the driver, one thread per rank: a rank's gate calls are answered in its thread at
 * once, everything else waits for the coordinator. A failure of any thread reaches the coordinator
 * at its next wait.
 */
final class RankInbox implements AutoCloseable {

  private final Communicator communicator;
  private final BiConsumer<Integer, Frame> gateCalls;
  private final List<BlockingQueue<Object>> queues = new ArrayList<>();
  private final List<Thread> threads = new ArrayList<>();

  /** Ranks that the coordinator waits for, with the time it began to. */
  private final Map<Integer, Long> awaitedSince = new ConcurrentHashMap<>();

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
    awaitedSince.put(rank, System.nanoTime());
    try {
      next = queues.get(rank).take();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted while waiting for " + expected, e);
    } finally {
      awaitedSince.remove(rank);
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
        Frame frame = nextFrame(rank);
        if (gateCalls != null && frame.key().kind() == FrameKind.GATE) {
          gateCalls.accept(rank, frame);
        } else {
          queues.get(rank).add(frame);
        }
      }
    } catch (RuntimeException | Error e) {
      // One late or lost rank keeps all others waiting: every queue gets the failure, whichever is
      // looked at first.
      queues.forEach(queue -> queue.add(e));
    }
  }

  /**
   * A rank that is silent because it waits for the coordinator, as while a checkpoint is committed,
   * is not late: only one that the coordinator waits for can be. It is given a second deadline,
   * because it may itself be waiting for the rank that is late, and then names that one.
   */
  private Frame nextFrame(int rank) {
    boolean silentBefore = false;
    while (true) {
      long fromNanos = System.nanoTime();
      try {
        return communicator.receiveNext(rank);
      } catch (RankLateException late) {
        Long since = awaitedSince.get(rank);
        boolean awaited = since != null && since - fromNanos <= 0;
        if (awaited && silentBefore) {
          throw late;
        }
        silentBefore = since != null;
      }
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
