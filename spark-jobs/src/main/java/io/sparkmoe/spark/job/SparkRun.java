package io.sparkmoe.spark.job;

import io.sparkmoe.data.RowSource;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.spark.cluster.BarrierRun;
import io.sparkmoe.spark.cluster.DriverTask;
import io.sparkmoe.spark.cluster.RankTask;
import io.sparkmoe.spark.cluster.RunSettings;
import io.sparkmoe.train.Coordinator;
import io.sparkmoe.train.CoordinatorSettings;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunConfigJson;
import io.sparkmoe.train.RunListener;
import io.sparkmoe.train.RunResult;
import java.io.Serializable;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;

/**
 * Puts a coordinator on the driver and a worker into each task of one barrier stage.
 *
 * @param <T> rows as they come out of the ranks' partitions
 */
final class SparkRun<T> {

  /** Makes a rank's row source from its partition; travels to the executors. */
  interface Rows<T> extends Serializable {

    RowSource source(Iterator<T> partition, RunConfig config, int rank, int numRanks);

    /** As {@link io.sparkmoe.spark.data.TrainingRows#teacherTopK}. */
    int teacherTopK();

    /** Validation rows, the same on every rank. */
    List<TokenRow> validation();
  }

  private final RunConfig config;
  private final JavaRDD<T> partitions;
  private final Rows<T> rows;
  private final StoreLocation store;
  private final String description;

  /**
   * @param partitions one for each rank
   * @param store the run's folder as executors open it, null = write nothing
   * @param description of the Spark job
   */
  SparkRun(
      RunConfig config,
      JavaRDD<T> partitions,
      Rows<T> rows,
      StoreLocation store,
      String description) {
    this.config = config;
    this.partitions = partitions;
    this.rows = rows;
    this.store = store;
    this.description = description;
  }

  /**
   * Trains to the end.
   *
   * @param threads compute threads of a rank, 0 = {@code spark.task.cpus}
   */
  FinishedRun run(
      JavaSparkContext context, CoordinatorSettings settings, int threads, RunListener listener) {
    AtomicReference<RunResult> result = new AtomicReference<>();
    AtomicBoolean begun = new AtomicBoolean();
    DriverTask driver =
        (end, attempt) -> {
          // Goes on from what earlier attempts have committed, unless none got as far as the
          // checkpoint that the user asks for: then newer ones are still there.
          CoordinatorSettings ofAttempt =
              begun.get() ? settings.withResume(Resume.auto()) : settings;
          Coordinator coordinator = new Coordinator(config, end, ofAttempt, listener);
          try {
            result.set(coordinator.run());
          } finally {
            begun.compareAndSet(false, coordinator.hasBegun());
          }
        };
    int numRanks = partitions.getNumPartitions();
    RankTask<T> rank =
        new TrainingTask<>(RunConfigJson.toJson(config).toString(), rows, store, threads);
    RunSettings run =
        new RunSettings(
            description, config.cluster().deadline(), config.cluster().checkpointDeadline());
    BarrierRun.Result ended = BarrierRun.run(context, partitions, rank, driver, run);
    return new FinishedRun(result.get(), numRanks, ended.stageAttempts(), remarks(ended));
  }

  private static List<String> remarks(BarrierRun.Result ended) {
    List<String> failures = ended.failures();
    if (!ended.results().isEmpty() || failures.isEmpty()) {
      return List.of();
    }
    return List.of(
        failures.get(failures.size() - 1)
            + "; every step was done and committed by then, so the run is complete");
  }
}
