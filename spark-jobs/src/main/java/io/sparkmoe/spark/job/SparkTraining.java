package io.sparkmoe.spark.job;

import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.data.PositionedRow;
import io.sparkmoe.data.RowOrder;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.spark.cluster.RunFailedException;
import io.sparkmoe.spark.data.BadInputException;
import io.sparkmoe.train.CoordinatorSettings;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import io.sparkmoe.train.RankMemory;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunListener;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;

/** Trains on a dataset with a Spark context that is there. */
final class SparkTraining {

  private SparkTraining() {}

  static FinishedRun run(
      JavaSparkContext context,
      int numRanks,
      RunPlan plan,
      Configuration hadoop,
      RunListener listener)
      throws IOException {
    RunConfig config = plan.config();
    List<TokenRow> validation = plan.dataset().readValidation();
    RowOrder order = plan.rowOrder();
    JavaRDD<PositionedRow> partitions =
        plan.dataset().forRanks(context, order, firstStep(plan), config.train().steps(), numRanks);
    DatasetRows rows =
        new DatasetRows(
            order.numRows(),
            plan.dataset().teacherTopK(),
            context.broadcast(new ArrayList<>(validation)));
    StoreLocation store = new StoreLocation(plan.folder().store().location(), hadoop);
    CoordinatorSettings settings =
        new CoordinatorSettings(
            plan.folder().store(),
            plan.resume(),
            plan.dataset().identity(),
            validation.size(),
            1,
            RankMemory.ofDriver(config, numRanks).limitBytes());
    plan.folder().begin();
    try {
      return new SparkRun<>(config, partitions, rows, store, "moe train")
          .run(context, settings, 0, listener);
    } catch (RunFailedException e) {
      // Rows are read by Spark's tasks, for which a file that no one can read is a failed run.
      throw BadInputException.causeOf(e).<RuntimeException>map(bad -> bad).orElse(e);
    }
  }

  /** The first step that may be trained: that after the oldest checkpoint that a resume may use. */
  private static int firstStep(RunPlan plan) throws IOException {
    List<Integer> steps = new CheckpointStore(plan.folder().store()).committedSteps();
    return steps.isEmpty() || plan.resume().mode() == Resume.Mode.NEVER ? 1 : steps.get(0) + 1;
  }
}
