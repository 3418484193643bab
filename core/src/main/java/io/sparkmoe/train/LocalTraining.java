package io.sparkmoe.train;

import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.Failure;
import io.sparkmoe.parallel.FatalRunException;
import io.sparkmoe.parallel.LocalCommunicator;
import io.sparkmoe.parallel.RankLateException;
import io.sparkmoe.parallel.RankLostException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.IntFunction;

/** A training run in one process: one thread per rank, the coordinator in the caller's thread. */
public final class LocalTraining {

  private LocalTraining() {}

  /**
   * Trains to the end.
   *
   * @param numRanks usually one with all threads
   * @param workers settings by rank
   * @throws FatalRunException when the run cannot go on, with one sentence
   * @throws IOException when a checkpoint cannot be read or written, whichever end found out
   */
  public static RunResult run(
      RunConfig config,
      int numRanks,
      IntFunction<WorkerSettings> workers,
      CoordinatorSettings settings,
      RunListener listener)
      throws IOException {
    LocalCommunicator.Group group = LocalCommunicator.group(numRanks, config.cluster().deadline());
    Queue<Throwable> failures = new ConcurrentLinkedQueue<>();
    List<Thread> threads = new ArrayList<>();
    try {
      for (int rank = 0; rank < numRanks; rank++) {
        Communicator end = group.rank(rank);
        WorkerSettings own = workers.apply(rank);
        Thread thread = new Thread(() -> work(config, end, own, failures), "rank " + rank);
        threads.add(thread);
        thread.start();
      }
      return new Coordinator(config, group.driver(), settings, listener).run();
    } catch (IOException | RuntimeException | Error e) {
      group.driver().abort(Failure.of(Communicator.DRIVER, e));
      Threads.join(threads);
      throw cause(e, failures);
    } finally {
      Threads.join(threads);
      group.close();
    }
  }

  private static void work(
      RunConfig config, Communicator end, WorkerSettings settings, Queue<Throwable> failures) {
    try {
      new Worker(config, end, settings).run();
    } catch (IOException | RuntimeException | Error e) {
      failures.add(e);
      end.abort(Failure.of(end.rank(), e));
    }
  }

  /** A coordinator that merely lost a rank is not the cause; the rank's own failure is. */
  private static RuntimeException cause(Throwable ofCoordinator, Queue<Throwable> ofRanks)
      throws IOException {
    Throwable cause = ofCoordinator;
    if (isSecondary(cause)) {
      cause = ofRanks.stream().filter(failure -> !isSecondary(failure)).findFirst().orElse(cause);
    }
    if (cause instanceof Error error) {
      throw error;
    }
    if (cause instanceof IOException unreadable) {
      throw unreadable;
    }
    return (RuntimeException) cause;
  }

  private static boolean isSecondary(Throwable failure) {
    return failure instanceof RankLostException || failure instanceof RankLateException;
  }
}
