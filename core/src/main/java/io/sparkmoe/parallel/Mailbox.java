package io.sparkmoe.parallel;

import io.sparkmoe.parallel.Communicator.Frame;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.IntFunction;

/**
 * Frames that came to one end and wait to be taken, a queue per sender. Delivering never waits;
 * taking waits for the frame, for a failure or for the deadline, whichever is first; a sender that
 * says it is alive is waited for a deadline longer. What arrived before a failure can still be
 * taken. Any end's failure ends every wait, because ranks depend on each other: the one that waits
 * for a healthy rank would else only learn of the failed one when its own deadline passes.
 * Thread-safe.
 */
public final class Mailbox implements AutoCloseable {

  private final int owner;
  private final Duration deadline;
  private final IntFunction<String> describe;
  private final ReentrantLock lock = new ReentrantLock();
  private final List<Queue> queues = new ArrayList<>();
  private Failure failure;
  private boolean closed;

  private static final class Queue {
    final ArrayDeque<Frame> frames = new ArrayDeque<>();
    final Condition changed;
    long aliveNanos;
    boolean keptAlive;

    Queue(Condition changed) {
      this.changed = changed;
    }
  }

  /**
   * @param owner rank that takes the frames, or {@link Communicator#DRIVER}
   * @param numRanks ranks of the group, the driver not counted
   * @param deadline longest wait for one frame
   * @param describe where a rank runs, for messages
   */
  public Mailbox(int owner, int numRanks, Duration deadline, IntFunction<String> describe) {
    this.owner = owner;
    this.deadline = deadline;
    this.describe = describe;
    for (int i = 0; i < numRanks + 1; i++) {
      queues.add(new Queue(lock.newCondition()));
    }
  }

  /** Adds a frame from that end; after {@link #close} it is thrown away. */
  public void deliver(int from, Frame frame) {
    Queue queue = queueOf(from);
    lock.lock();
    try {
      if (!closed) {
        queue.frames.addLast(frame);
        queue.changed.signalAll();
      }
    } finally {
      lock.unlock();
    }
  }

  /** Takes the frame of that key from that end; see {@link Communicator#receive}. */
  public Frame receive(int from, FrameKey key) {
    return take(from, key);
  }

  /** Takes the oldest frame from that end; see {@link Communicator#receiveNext}. */
  public Frame receiveNext(int from) {
    return take(from, null);
  }

  /** Ends every wait, now and later, with a {@link RankLostException}; the first failure stays. */
  public void fail(Failure first) {
    lock.lock();
    try {
      if (failure == null) {
        failure = first;
        signalAll();
      }
    } finally {
      lock.unlock();
    }
  }

  /** Why the group has failed, or null while it has not. */
  public Failure failure() {
    lock.lock();
    try {
      return failure;
    } finally {
      lock.unlock();
    }
  }

  /**
   * What a wait ends with when the group {@link #failure has failed}.
   *
   * @param doing what the owner of this mailbox is kept from, in words
   */
  RankLostException lost(String doing) {
    return new RankLostException(
        describe.apply(failure.rank())
            + " failed: "
            + failure.reason()
            + " ("
            + describe.apply(owner)
            + " was "
            + doing
            + ")",
        failure);
  }

  /** That end is at work: waits for it begin anew. */
  public void keptAlive(int from) {
    Queue queue = queueOf(from);
    lock.lock();
    try {
      queue.aliveNanos = System.nanoTime();
      queue.keptAlive = true;
    } finally {
      lock.unlock();
    }
  }

  /** Drops what was not taken and ends every wait. */
  @Override
  public void close() {
    lock.lock();
    try {
      closed = true;
      queues.forEach(queue -> queue.frames.clear());
      signalAll();
    } finally {
      lock.unlock();
    }
  }

  private void signalAll() {
    queues.forEach(queue -> queue.changed.signalAll());
  }

  private Frame take(int from, FrameKey key) {
    Queue queue = queueOf(from);
    long startNanos = System.nanoTime();
    lock.lock();
    try {
      while (true) {
        if (closed) {
          throw new IllegalStateException(
              describe.apply(owner) + " waits for " + wanted(key) + " but is closed");
        }
        Frame frame = poll(queue, key);
        if (frame != null) {
          return frame;
        }
        if (failure != null) {
          throw lost("waiting for " + wanted(key) + " from " + describe.apply(from));
        }
        long leftNanos = leftNanos(queue, startNanos);
        if (leftNanos <= 0) {
          throw late(from, key, queue, startNanos);
        }
        queue.changed.awaitNanos(leftNanos);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(
          describe.apply(owner)
              + " was interrupted while it waited for "
              + wanted(key)
              + " from "
              + describe.apply(from),
          e);
    } finally {
      lock.unlock();
    }
  }

  /** Until the deadline, which counts from the sender's last sign of life. */
  private long leftNanos(Queue queue, long startNanos) {
    return deadline.toNanos() - (System.nanoTime() - lastSign(queue, startNanos));
  }

  private static long lastSign(Queue queue, long startNanos) {
    return queue.keptAlive && queue.aliveNanos - startNanos > 0 ? queue.aliveNanos : startNanos;
  }

  private RankLateException late(int from, FrameKey key, Queue queue, long startNanos) {
    long silentFrom = lastSign(queue, startNanos);
    String working =
        silentFrom == startNanos
            ? " s; see that process's log, or raise cluster.deadline_seconds"
            : " s of its last sign, after "
                + TimeUnit.NANOSECONDS.toSeconds(silentFrom - startNanos)
                + " s of work on a checkpoint; see that process's log, or raise"
                + " cluster.checkpoint_deadline_seconds";
    return new RankLateException(
        describe.apply(from)
            + " is late: "
            + describe.apply(owner)
            + " got no "
            + wanted(key)
            + " within "
            + seconds()
            + working
            + " if it needs longer");
  }

  /** Frames are mostly taken in the order they came, so the scan ends at the first. */
  private static Frame poll(Queue queue, FrameKey key) {
    if (key == null) {
      return queue.frames.pollFirst();
    }
    for (Iterator<Frame> frames = queue.frames.iterator(); frames.hasNext(); ) {
      Frame frame = frames.next();
      if (frame.key().equals(key)) {
        frames.remove();
        return frame;
      }
    }
    return null;
  }

  private Queue queueOf(int from) {
    if (from < Communicator.DRIVER || from >= queues.size() - 1) {
      throw new IllegalArgumentException(
          "a sender must be the driver (-1) or a rank below "
              + (queues.size() - 1)
              + ", got "
              + from);
    }
    return queues.get(from + 1);
  }

  private String seconds() {
    long millis = TimeUnit.NANOSECONDS.toMillis(deadline.toNanos());
    return millis % 1000 == 0 ? Long.toString(millis / 1000) : Double.toString(millis / 1000.0);
  }

  private static String wanted(FrameKey key) {
    return key == null ? "next frame" : key.toString();
  }
}
