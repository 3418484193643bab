package io.sparkmoe.parallel;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Runs the same body as every rank of a local group, a thread each, and fails with the first
 * failure's cause.
 */
public final class RankThreads {

  private RankThreads() {}

  /** What one rank does. */
  public interface Body<R> {
    R run(Communicator end) throws Exception;
  }

  /** Results by rank. */
  public static <R> List<R> run(int ranks, Body<R> body) throws Exception {
    try (LocalCommunicator.Group group = LocalCommunicator.group(ranks, Duration.ofSeconds(30))) {
      return run(group, ranks, body);
    }
  }

  /** Results by rank, in a group that the caller closes. */
  public static <R> List<R> run(LocalCommunicator.Group group, int ranks, Body<R> body)
      throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(ranks);
    try {
      List<Future<R>> futures = new ArrayList<>();
      for (int rank = 0; rank < ranks; rank++) {
        Communicator end = group.rank(rank);
        futures.add(
            threads.submit(
                () -> {
                  try {
                    return body.run(end);
                  } catch (Exception | Error e) {
                    end.abort(e.toString());
                    throw e;
                  }
                }));
      }
      List<R> results = new ArrayList<>();
      Throwable first = null;
      for (Future<R> future : futures) {
        try {
          results.add(future.get());
        } catch (ExecutionException e) {
          // What the others report is only that somebody failed.
          if (first == null || first instanceof RankLostException) {
            first = e.getCause();
          }
        }
      }
      if (first instanceof Error error) {
        throw error;
      }
      if (first != null) {
        throw (Exception) first;
      }
      return results;
    } finally {
      threads.shutdownNow();
    }
  }
}
