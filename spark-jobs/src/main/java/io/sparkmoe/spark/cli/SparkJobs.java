package io.sparkmoe.spark.cli;

import io.sparkmoe.spark.job.BenchOptions;
import io.sparkmoe.spark.job.EvaluateOptions;
import io.sparkmoe.spark.job.PrepareJob;
import io.sparkmoe.spark.job.PrepareOptions;
import io.sparkmoe.spark.job.QuickstartOptions;
import io.sparkmoe.spark.job.TrainOptions;
import java.io.IOException;
import org.apache.spark.sql.SparkSession;

/** Starts the jobs of {@link io.sparkmoe.spark.job}. */
final class SparkJobs implements Jobs {

  @Override
  public void prepare(PrepareOptions options) throws IOException {
    try (SparkSession spark = SparkSession.builder().appName("moe prepare").getOrCreate()) {
      new PrepareJob(spark, options).run();
    }
  }

  @Override
  public void train(TrainOptions options) {
    throw PlannedCommand.notBuilt("train");
  }

  @Override
  public void evaluate(EvaluateOptions options) {
    throw PlannedCommand.notBuilt("evaluate");
  }

  @Override
  public void benchTrain(BenchOptions options) {
    throw PlannedCommand.notBuilt("bench train");
  }

  @Override
  public void quickstart(QuickstartOptions options) {
    throw PlannedCommand.notBuilt("quickstart");
  }
}
