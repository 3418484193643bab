package io.sparkmoe.kernel;

import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;

/**
 * A fixed set of daemon threads; the caller takes part. Threads take pieces from one counter, so a
 * slow piece delays only itself. A call made from inside a piece, or while another thread's call is
 * under way, runs inline on its caller: results do not depend on the number of threads, so this
 * changes nothing but time.
 */
public final class ThreadPoolParallel implements Parallel {

  /**
   * Polls before a thread parks: about 20 us, more than the serial gap between two kernels of a
   * layer.
   */
  private static final int SPINS = 500;

  private final Worker[] workers;
  private final AtomicBoolean busy = new AtomicBoolean();
  private volatile boolean closed;

  /**
   * @param name prefix of the thread names, such as "rank 1"
   * @param threads number of threads, the caller's included
   */
  public ThreadPoolParallel(String name, int threads) {
    if (threads < 1) {
      throw new IllegalArgumentException("threads must be >= 1, got " + threads);
    }
    workers = new Worker[threads - 1];
    for (int i = 0; i < workers.length; i++) {
      workers[i] = new Worker(name + " compute " + (i + 1));
      workers[i].start();
    }
  }

  @Override
  public int threads() {
    return workers.length + 1;
  }

  @Override
  public void forEach(int pieces, Body body) {
    if (closed) {
      throw new IllegalStateException("compute threads are closed; open a new engine");
    }
    boolean inline = workers.length == 0 || pieces < 2 || !busy.compareAndSet(false, true);
    if (inline) {
      for (int piece = 0; piece < pieces; piece++) {
        body.run(piece);
      }
      return;
    }
    try {
      Job job = new Job(pieces, body, Thread.currentThread());
      int helpers = Math.min(workers.length, pieces - 1);
      for (int i = 0; i < helpers; i++) {
        workers[i].offer(job);
      }
      job.work();
      job.await();
    } finally {
      busy.set(false);
    }
  }

  @Override
  public void close() {
    closed = true;
    for (Worker worker : workers) {
      LockSupport.unpark(worker);
    }
  }

  /** One forEach call. */
  private static final class Job {
    private final int pieces;
    private final Body body;
    private final Thread caller;
    private final AtomicInteger next = new AtomicInteger();
    private final AtomicInteger finished = new AtomicInteger();
    private final AtomicReference<Throwable> failure = new AtomicReference<>();

    Job(int pieces, Body body, Thread caller) {
      this.pieces = pieces;
      this.body = body;
      this.caller = caller;
    }

    /** Takes pieces until none is left; after a failure the rest are counted but not run. */
    void work() {
      for (int piece = next.getAndIncrement(); piece < pieces; piece = next.getAndIncrement()) {
        try {
          if (failure.get() == null) {
            body.run(piece);
          }
        } catch (Throwable t) {
          // Kept, not handled: forEach throws it on the caller's thread.
          failure.compareAndSet(null, t);
        } finally {
          if (finished.incrementAndGet() == pieces) {
            LockSupport.unpark(caller);
          }
        }
      }
    }

    void await() {
      for (int spin = 0; finished.get() < pieces; spin++) {
        if (spin < SPINS) {
          Thread.onSpinWait();
        } else {
          LockSupport.park(this);
        }
      }
      Throwable thrown = failure.get();
      if (thrown instanceof RuntimeException e) {
        throw e;
      }
      if (thrown instanceof Error e) {
        throw e;
      }
    }
  }

  private final class Worker extends Thread {
    private final AtomicReference<Job> offered = new AtomicReference<>();
    private volatile boolean parked;

    Worker(String name) {
      super(name);
      setDaemon(true);
    }

    void offer(Job job) {
      offered.set(job);
      if (parked) {
        LockSupport.unpark(this);
      }
    }

    @Override
    public void run() {
      while (true) {
        Job job = take();
        if (job == null) {
          return;
        }
        job.work();
      }
    }

    /** Next job, or null when the pool is closed. */
    private Job take() {
      for (int spin = 0; !closed; spin++) {
        Job job = offered.get();
        if (job != null && offered.compareAndSet(job, null)) {
          return job;
        }
        if (spin < SPINS) {
          Thread.onSpinWait();
        } else {
          // Set before the last look, and read by offer after it stores: one of the two sees the
          // other.
          parked = true;
          if (offered.get() == null && !closed) {
            LockSupport.park(ThreadPoolParallel.this);
          }
          parked = false;
        }
      }
      return null;
    }
  }
}
