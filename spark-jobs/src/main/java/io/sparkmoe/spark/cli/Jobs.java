package io.sparkmoe.spark.cli;

import io.sparkmoe.spark.job.BenchGenerateOptions;
import io.sparkmoe.spark.job.BenchOptions;
import io.sparkmoe.spark.job.BenchSpeculativeOptions;
import io.sparkmoe.spark.job.ChatOptions;
import io.sparkmoe.spark.job.DistillOptions;
import io.sparkmoe.spark.job.EvaluateOptions;
import io.sparkmoe.spark.job.GenerateOptions;
import io.sparkmoe.spark.job.GradientBenchOptions;
import io.sparkmoe.spark.job.PrepareOptions;
import io.sparkmoe.spark.job.QuickstartOptions;
import io.sparkmoe.spark.job.StudyOptions;
import io.sparkmoe.spark.job.TeachOptions;
import io.sparkmoe.spark.job.TrainOptions;

/** What the commands start; tests put a record of the options in its place. */
interface Jobs {

  void prepare(PrepareOptions options) throws Exception;

  void train(TrainOptions options) throws Exception;

  void teach(TeachOptions options) throws Exception;

  void distill(DistillOptions options) throws Exception;

  void evaluate(EvaluateOptions options) throws Exception;

  void generate(GenerateOptions options) throws Exception;

  void chat(ChatOptions options) throws Exception;

  void benchGenerate(BenchGenerateOptions options) throws Exception;

  void benchSpeculative(BenchSpeculativeOptions options) throws Exception;

  void benchTrain(BenchOptions options) throws Exception;

  void benchDistill(StudyOptions options) throws Exception;

  void benchGradients(GradientBenchOptions options) throws Exception;

  void quickstart(QuickstartOptions options) throws Exception;
}
