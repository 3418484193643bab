package io.sparkmoe.spark.job;

import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.config.ResolvedConfig;
import io.sparkmoe.io.Store;
import io.sparkmoe.report.ExpertUse;
import io.sparkmoe.spark.data.HadoopStore;
import io.sparkmoe.spark.data.TokenDataset;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunFolder;
import io.sparkmoe.train.RunSummary;
import java.io.IOException;
import java.io.PrintStream;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.hadoop.conf.Configuration;

/** {@code moe train}: trains a model on a prepared dataset, on Spark or in this process. */
public final class TrainJob {

  private static final Pattern CHECKPOINT_STEP = Pattern.compile("(?:.*/)?step-(\\d{1,9})/?");

  private final TrainOptions options;
  private final PrintStream err;

  /**
   * @param err where progress and remarks go
   */
  public TrainJob(TrainOptions options, PrintStream err) {
    this.options = options;
    this.err = err;
  }

  /**
   * What a finished run left.
   *
   * @param summary as in summary.json
   * @param expertUse use of every MoE layer on the validation rows, by source
   */
  public record Trained(RunSummary summary, List<ExpertUse> expertUse) {}

  /**
   * Trains to the end.
   *
   * @throws IllegalArgumentException when config, dataset, folder or cluster do not fit, in one
   *     sentence and before anything is written
   */
  public Trained run() throws IOException, InterruptedException {
    long start = System.nanoTime();
    Configuration hadoop = new Configuration();
    TokenDataset dataset = TokenDataset.open(options.data(), hadoop);
    ResolvedConfig resolved =
        options.config().withTokenizer(dataset.info().vocabSize(), dataset.location());
    RunConfig config = resolved.toRunConfig();
    if (options.engine() == Engine.LOCAL) {
      config = config.forLocalEngine();
    }
    dataset.requireFits(config.train().seqLen(), config.model().vocabSize());
    if (dataset.info().train().rows() == 0) {
      throw new IllegalArgumentException(
          "dataset "
              + dataset.location()
              + " has no training rows, expected at least one; prepare more text");
    }
    resolved.notes().forEach(err::println);
    try (Store store = HadoopStore.open(options.out(), hadoop)) {
      RunFolder folder = new RunFolder(store);
      Resume resume = resume(store);
      folder.requireRoomFor(config, dataset.info().tokenizerSha256(), resume);
      RunPlan plan = new RunPlan(config, resolved.toYaml(), dataset, folder, resume);
      err.print(plan.configYaml());
      FinishedRun finished;
      try (RunConsole console = new RunConsole(plan, err)) {
        finished =
            options.engine() == Engine.LOCAL
                ? LocalRun.run(plan, Runtime.getRuntime().availableProcessors(), console)
                : onSpark(plan, hadoop, console);
      }
      finished.remarks().forEach(err::println);
      return close(plan, finished, start);
    }
  }

  private FinishedRun onSpark(RunPlan plan, Configuration hadoop, RunConsole console)
      throws IOException, InterruptedException {
    try (SparkSetup spark = SparkSetup.start(plan.config(), options.executors(), "moe train")) {
      spark.remarks().forEach(err::println);
      return SparkTraining.run(spark.context(), spark.numRanks(), plan, hadoop, console);
    }
  }

  private Resume resume(Store store) throws IOException {
    return switch (options.resume()) {
      case TrainOptions.RESUME_AUTO -> Resume.auto();
      case TrainOptions.RESUME_NEVER -> Resume.never();
      default -> checkpoint(store);
    };
  }

  private Resume checkpoint(Store store) throws IOException {
    Matcher matcher = CHECKPOINT_STEP.matcher(options.resume());
    List<Integer> steps = new CheckpointStore(store).committedSteps();
    if (matcher.matches() && steps.contains(Integer.parseInt(matcher.group(1)))) {
      return Resume.from(Integer.parseInt(matcher.group(1)));
    }
    throw new IllegalArgumentException(
        "--resume "
            + options.resume()
            + " is no checkpoint of --out "
            + options.out()
            + ", expected auto, never or step-N with N one of "
            + steps
            + "; name one of these");
  }

  private static Trained close(RunPlan plan, FinishedRun finished, long startNanos)
      throws IOException {
    double wallSeconds = (System.nanoTime() - startNanos) * 1e-9;
    RunSummary summary =
        RunSummary.of(
            plan.config(),
            finished.result(),
            plan.dataset().info().validation().bytesPerToken(),
            wallSeconds,
            finished.executors(),
            finished.stageAttempts());
    List<ExpertUse> use = ExpertUses.of(plan.config().model(), finished.result().evaluation());
    RunReporter.draw(plan.folder().store(), use);
    plan.folder().writeSummary(summary);
    return new Trained(summary, use);
  }
}
