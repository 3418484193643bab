package io.sparkmoe.spark.job;

import io.sparkmoe.data.InMemoryRowSource;
import io.sparkmoe.data.RowOrder;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.spark.cluster.Preflight;
import io.sparkmoe.train.CoordinatorSettings;
import io.sparkmoe.train.LocalTraining;
import io.sparkmoe.train.RankMemory;
import io.sparkmoe.train.ResidentMemory;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunListener;
import io.sparkmoe.train.RunResult;
import io.sparkmoe.train.WorkerSettings;
import java.io.IOException;
import java.util.List;

/** Trains in this process, without Spark: one rank with all threads. */
final class LocalRun {

  private LocalRun() {}

  /**
   * Refuses a run that this machine's memory cannot hold, before it takes any.
   *
   * @param teacherTopK tokens that a teacher stores of a position, as far as the loss reads them
   */
  static void requireMemory(RunConfig config, int teacherTopK) {
    Preflight.checkThisMachine(
        ResidentMemory.local(config, teacherTopK).bytes(),
        "lower train.micro_batch_sequences, set train.recompute=layer, or take a smaller model");
  }

  static FinishedRun run(RunPlan plan, int threads, RunListener listener) throws IOException {
    RunConfig config = plan.config();
    int teacherTopK = plan.dataset().teacherTopK();
    requireMemory(config, teacherTopK);
    List<TokenRow> rows = plan.dataset().readTrain();
    List<TokenRow> validation = plan.dataset().readValidation();
    RowOrder order = plan.rowOrder();
    plan.folder().begin();
    RunResult result =
        LocalTraining.run(
            config,
            1,
            rank ->
                new WorkerSettings(
                    new InMemoryRowSource(rows, order, rank, 1),
                    validation,
                    plan.folder().store(),
                    threads,
                    RankMemory.ofRank(config, 1, teacherTopK).limitBytes()),
            new CoordinatorSettings(
                plan.folder().store(),
                plan.resume(),
                plan.dataset().identity(),
                validation.size(),
                1,
                RankMemory.ofDriver(config, 1).limitBytes()),
            listener);
    return new FinishedRun(result, 0, 1, List.of());
  }
}
