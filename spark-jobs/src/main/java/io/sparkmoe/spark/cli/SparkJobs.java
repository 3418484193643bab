package io.sparkmoe.spark.cli;

import io.sparkmoe.spark.cluster.MasterCheck;
import io.sparkmoe.spark.job.BenchGenerateJob;
import io.sparkmoe.spark.job.BenchGenerateOptions;
import io.sparkmoe.spark.job.BenchJob;
import io.sparkmoe.spark.job.BenchOptions;
import io.sparkmoe.spark.job.BenchSpeculativeJob;
import io.sparkmoe.spark.job.BenchSpeculativeOptions;
import io.sparkmoe.spark.job.ChatJob;
import io.sparkmoe.spark.job.ChatOptions;
import io.sparkmoe.spark.job.DistillJob;
import io.sparkmoe.spark.job.DistillOptions;
import io.sparkmoe.spark.job.EvaluateJob;
import io.sparkmoe.spark.job.EvaluateOptions;
import io.sparkmoe.spark.job.GenerateJob;
import io.sparkmoe.spark.job.GenerateOptions;
import io.sparkmoe.spark.job.GradientBenchJob;
import io.sparkmoe.spark.job.GradientBenchOptions;
import io.sparkmoe.spark.job.PrepareJob;
import io.sparkmoe.spark.job.PrepareOptions;
import io.sparkmoe.spark.job.QuickstartJob;
import io.sparkmoe.spark.job.QuickstartOptions;
import io.sparkmoe.spark.job.StudyJob;
import io.sparkmoe.spark.job.StudyOptions;
import io.sparkmoe.spark.job.TeachJob;
import io.sparkmoe.spark.job.TeachOptions;
import io.sparkmoe.spark.job.TrainJob;
import io.sparkmoe.spark.job.TrainOptions;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import org.apache.spark.SparkConf;
import org.apache.spark.sql.SparkSession;

/** Starts the jobs of {@link io.sparkmoe.spark.job}. */
final class SparkJobs implements Jobs {

  private final InputStream in;
  private final PrintStream out;
  private final PrintStream err;

  /**
   * @param in what a person types to a command that asks
   * @param out results
   * @param err progress and remarks
   */
  SparkJobs(InputStream in, PrintStream out, PrintStream err) {
    this.in = in;
    this.out = out;
    this.err = err;
  }

  @Override
  public void prepare(PrepareOptions options) throws IOException {
    MasterCheck.check(new SparkConf());
    try (SparkSession spark = SparkSession.builder().appName("moe prepare").getOrCreate()) {
      new PrepareJob(spark, options).run();
    }
  }

  @Override
  public void train(TrainOptions options) throws Exception {
    new TrainJob(options, err).run();
  }

  @Override
  public void teach(TeachOptions options) throws Exception {
    new TeachJob(options, out, err).run();
  }

  @Override
  public void distill(DistillOptions options) throws Exception {
    new DistillJob(options, err).run();
  }

  @Override
  public void evaluate(EvaluateOptions options) throws Exception {
    new EvaluateJob(options, out).run();
  }

  @Override
  public void generate(GenerateOptions options) throws Exception {
    new GenerateJob(options, out, err).run();
  }

  @Override
  public void chat(ChatOptions options) throws Exception {
    new ChatJob(options, in, out, err).run();
  }

  @Override
  public void benchGenerate(BenchGenerateOptions options) throws Exception {
    new BenchGenerateJob(options, out, err).run();
  }

  @Override
  public void benchSpeculative(BenchSpeculativeOptions options) throws Exception {
    new BenchSpeculativeJob(options, out, err).run();
  }

  @Override
  public void benchTrain(BenchOptions options) throws Exception {
    new BenchJob(options, out, err).run();
  }

  @Override
  public void benchDistill(StudyOptions options) throws Exception {
    new StudyJob(options, out, err).run();
  }

  @Override
  public void benchGradients(GradientBenchOptions options) throws Exception {
    new GradientBenchJob(options, out).run();
  }

  @Override
  public void quickstart(QuickstartOptions options) throws Exception {
    new QuickstartJob(options, out, err).run();
  }
}
