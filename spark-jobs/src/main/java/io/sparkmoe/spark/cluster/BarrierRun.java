package io.sparkmoe.spark.cluster;

import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.Failure;
import io.sparkmoe.parallel.FatalRunException;
import io.sparkmoe.parallel.RankLateException;
import io.sparkmoe.parallel.RankLostException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.rdd.RDD;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import scala.Tuple2;
import scala.reflect.ClassTag;
import scala.reflect.ClassTag$;

/**
 * One run: a Spark job whose first stage is a barrier stage with one long task per rank, while the
 * driver takes part from its own process. The job ends in a shuffle although its result needs none,
 * because Spark retries a failed barrier stage only when it feeds a shuffle: then all tasks start
 * again together, up to {@code spark.stage.maxConsecutiveAttempts} times, and each attempt meets a
 * fresh driver's end.
 */
public final class BarrierRun {

  private static final Logger LOG = LoggerFactory.getLogger(BarrierRun.class);

  /** Port on which the driver waits for ranks; 0, the default, takes any free one. */
  public static final String DRIVER_PORT = "spark.moe.driver.port";

  /** Wait for the driver's task of a run that is over. */
  private static final long DRIVER_END_MILLIS = 5000;

  private static final String DESCRIPTION = "spark.job.description";
  private static final String INTERRUPT_ON_CANCEL = "spark.job.interruptOnCancel";

  /**
   * How a run ended.
   *
   * @param results what each rank returned, in rank order; empty when one failed after the driver's
   *     task had returned
   * @param stageAttempts attempts that the stage took, 1 when nothing failed
   * @param failures why attempts failed, one sentence each, naming the rank; with empty results the
   *     last one came when the run was complete
   */
  public record Result(List<byte[]> results, int stageAttempts, List<String> failures) {}

  private final SparkContext sc;
  private final DriverTask driverTask;
  private final RunSettings settings;
  private final String tag = "moe-" + UUID.randomUUID();
  private final AtomicReference<Throwable> fatal = new AtomicReference<>();
  private final Rendezvous rendezvous;
  private volatile boolean complete;
  private volatile boolean over;
  private volatile RuntimeException driverFailure;

  private BarrierRun(SparkContext sc, int numRanks, DriverTask driverTask, RunSettings settings) {
    this.sc = sc;
    this.driverTask = driverTask;
    this.settings = settings;
    SparkConf conf = sc.getConf();
    String host = conf.get("spark.driver.host");
    this.rendezvous =
        new Rendezvous(
            numRanks,
            settings.deadline(),
            settings.driverWork(),
            host,
            conf.get("spark.driver.bindAddress", host),
            conf.getInt(DRIVER_PORT, 0),
            SparkTransport::ofThisProcess,
            this::rankFailed);
  }

  /**
   * Runs the tasks to their end.
   *
   * @param rowsByRank one partition per rank; any chain that a barrier stage allows, such as one
   *     that begins with a shuffle
   * @param rankTask runs on each rank
   * @param driverTask runs here, once per attempt
   * @throws FatalRunException when a rank or the driver's task ended the run; the driver's own
   *     unchecked exception comes as it is, its IOException inside an UncheckedIOException
   * @throws RunFailedException when Spark gave up after the last attempt
   */
  public static <T> Result run(
      JavaSparkContext sc,
      JavaRDD<T> rowsByRank,
      RankTask<T> rankTask,
      DriverTask driverTask,
      RunSettings settings) {
    BarrierRun run = new BarrierRun(sc.sc(), rowsByRank.getNumPartitions(), driverTask, settings);
    Thread driver = new Thread(run::runDriverTasks, "moe-driver");
    driver.setDaemon(true);
    driver.start();
    try {
      List<Tuple2<Integer, byte[]>> results = run.collect(rowsByRank, rankTask);
      run.awaitDriverTask(driver);
      return new Result(
          inRankOrder(results), run.rendezvous.numAttempts(), run.rendezvous.failures());
    } finally {
      run.close(driver);
    }
  }

  private <T> List<Tuple2<Integer, byte[]>> collect(JavaRDD<T> rowsByRank, RankTask<T> rankTask) {
    ClassTag<Tuple2<Integer, byte[]>> resultTag = ClassTag$.MODULE$.apply(Tuple2.class);
    RDD<Tuple2<Integer, byte[]>> barrier =
        rowsByRank
            .rdd()
            .barrier()
            .mapPartitions(new RankFunction<>(rendezvous.ticket(), rankTask), false, resultTag);
    String description = sc.getLocalProperty(DESCRIPTION);
    String interrupt = sc.getLocalProperty(INTERRUPT_ON_CANCEL);
    sc.addJobTag(tag);
    sc.setLocalProperty(DESCRIPTION, settings.description());
    sc.setLocalProperty(INTERRUPT_ON_CANCEL, "true");
    try {
      return new JavaRDD<>(barrier, resultTag).repartition(1).collect();
    } catch (Exception e) {
      if (complete) {
        return List.of();
      }
      throw failure(e);
    } finally {
      sc.setLocalProperty(INTERRUPT_ON_CANCEL, interrupt);
      sc.setLocalProperty(DESCRIPTION, description);
      sc.removeJobTag(tag);
    }
  }

  private RuntimeException failure(Exception spark) {
    throwIfFatal();
    int attempts = rendezvous.numAttempts();
    List<String> failures = rendezvous.failures();
    if (failures.isEmpty()) {
      return new RunFailedException(
          "Spark ended the run after " + attempts + " attempts: " + withoutTrace(spark), spark);
    }
    return new RunFailedException(
        "the run failed in each of "
            + attempts
            + " attempts, at last because "
            + failures.get(failures.size() - 1),
        spark);
  }

  /** Spark's message spans lines and ends in a stack trace; its first lines hold the reason. */
  private static String withoutTrace(Exception spark) {
    return String.valueOf(spark.getMessage())
        .lines()
        .map(String::strip)
        .takeWhile(line -> !line.startsWith("at ") && !line.startsWith("Driver stacktrace"))
        .collect(Collectors.joining(" "));
  }

  private void throwIfFatal() {
    Throwable reason = fatal.get();
    if (reason instanceof RuntimeException unchecked) {
      throw unchecked;
    }
    if (reason instanceof IOException ofFile) {
      // Callers tell a damaged file or a full disk by its type.
      throw new UncheckedIOException(ofFile);
    }
    if (reason != null) {
      throw new FatalRunException(Failure.sentence(reason), reason);
    }
  }

  /** The loop of the driver's thread: one turn per attempt of the stage. */
  private void runDriverTasks() {
    try {
      for (Rendezvous.Attempt attempt; (attempt = rendezvous.awaitAttempt()) != null; ) {
        runDriverTask(attempt.driverEnd(), attempt.number());
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (Throwable e) {
      stop(e);
    }
  }

  private void runDriverTask(SparkCommunicator end, int attempt) throws InterruptedException {
    driverFailure = null;
    try {
      driverTask.run(end, attempt);
      complete(attempt);
    } catch (RankLostException | RankLateException e) {
      // The ranks fail with it, and Spark begins the next attempt.
      driverFailure = e;
      rendezvous.attemptFailed(attempt, e.getMessage());
      end.abort(Failure.of(Communicator.DRIVER, e));
    } catch (InterruptedException e) {
      throw e;
    } catch (Throwable e) {
      stop(e);
      end.abortRun(Failure.of(Communicator.DRIVER, e));
    }
  }

  /**
   * The driver has what the run was for. Ranks may still return; one that fails now, or has failed
   * since its last word, costs nothing and is no reason to run all of them again.
   */
  private void complete(int attempt) {
    complete = true;
    rendezvous.end("the run is complete");
    if (rendezvous.hasFailed(attempt)) {
      cancelRest();
    }
  }

  private void rankFailed(boolean fatal, String reason) {
    if (complete) {
      cancelRest();
    } else if (fatal) {
      stop(new FatalRunException(reason));
    }
  }

  private void cancelRest() {
    sc.cancelJobsWithTag(tag, "the run is complete, a rank failed after its work was done");
  }

  /** Ends the run without another attempt; the first reason is the one that the caller gets. */
  private void stop(Throwable reason) {
    if (!over && fatal.compareAndSet(null, reason)) {
      LOG.error("The run cannot go on: {}", Failure.sentence(reason));
      rendezvous.end(Failure.sentence(reason));
      sc.cancelJobsWithTag(tag, Failure.sentence(reason));
    }
  }

  /** All ranks have returned; their driver may still have a result to write. */
  private void awaitDriverTask(Thread driver) {
    rendezvous.end("the run has ended");
    try {
      driver.join(settings.driverWork().toMillis());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted while the driver's task ended", e);
    }
    throwIfFatal();
    if (driverFailure != null) {
      throw new RunFailedException(
          "all ranks ended, but the driver's task failed: " + driverFailure.getMessage(),
          driverFailure);
    }
    if (driver.isAlive()) {
      throw new FatalRunException(
          "the driver's task is late: all ranks ended "
              + settings.driverWork().toSeconds()
              + " s ago and it has not; raise cluster.checkpoint_deadline_seconds if it needs"
              + " longer");
    }
  }

  private void close(Thread driver) {
    over = true;
    rendezvous.close();
    // A driver's task that outlives its run ends at its next use of the communicator, or by this.
    driver.interrupt();
    try {
      driver.join(DRIVER_END_MILLIS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    if (driver.isAlive()) {
      LOG.warn(
          "The driver's task of {} has not ended although its run has", settings.description());
    }
  }

  private static List<byte[]> inRankOrder(List<Tuple2<Integer, byte[]>> results) {
    byte[][] byRank = new byte[results.size()][];
    results.forEach(result -> byRank[result._1()] = result._2());
    return Arrays.asList(byRank);
  }
}
