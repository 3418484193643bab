package io.sparkmoe.spark.job;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.sparkmoe.io.Store;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.spark.cluster.RankContext;
import io.sparkmoe.spark.cluster.RankTask;
import io.sparkmoe.train.RankMemory;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunConfigJson;
import io.sparkmoe.train.Worker;
import io.sparkmoe.train.WorkerSettings;
import java.util.Iterator;

/** What each rank of a training run does inside its barrier task. */
final class TrainingTask<T> implements RankTask<T> {

  private static final long serialVersionUID = 1;

  private final String configJson;
  private final SparkRun.Rows<T> rows;
  private final StoreLocation store;
  private final int threads;

  TrainingTask(String configJson, SparkRun.Rows<T> rows, StoreLocation store, int threads) {
    this.configJson = configJson;
    this.rows = rows;
    this.store = store;
    this.threads = threads;
  }

  @Override
  public byte[] run(Communicator communicator, Iterator<T> partition, RankContext context)
      throws Exception {
    RunConfig config = RunConfigJson.fromJson(new ObjectMapper().readTree(configJson));
    try (Store folder = store == null ? null : store.open()) {
      WorkerSettings settings =
          new WorkerSettings(
              rows.source(partition, config, context.rank(), context.numRanks()),
              rows.validation(),
              folder,
              threads == 0 ? context.numThreads() : threads,
              RankMemory.ofRank(config, context.numRanks(), rows.teacherTopK()).limitBytes());
      new Worker(config, communicator, settings).run();
      return new byte[0];
    }
  }
}
