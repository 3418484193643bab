package io.sparkmoe.spark.job;

import io.sparkmoe.checkpoint.CheckpointStore;
import io.sparkmoe.config.ResolvedConfig;
import io.sparkmoe.io.Store;
import io.sparkmoe.report.ExpertUse;
import io.sparkmoe.report.RunMetrics;
import io.sparkmoe.spark.data.HadoopStore;
import io.sparkmoe.spark.data.TrainingRows;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import io.sparkmoe.train.MetricsLog;
import io.sparkmoe.train.RunConfig;
import io.sparkmoe.train.RunFolder;
import io.sparkmoe.train.RunResult;
import io.sparkmoe.train.RunSummary;
import java.io.IOException;
import java.io.PrintStream;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * What every training command does once it knows its rows: meets the run's folder, trains on Spark
 * or in this process, and leaves metrics, plots and a summary.
 */
final class TrainingRun {

  private static final Pattern CHECKPOINT_STEP = Pattern.compile("(.*/)?step-(\\d{1,9})/*");

  private final String command;
  private final TrainOptions options;
  private final PrintStream err;
  private final long startNanos = System.nanoTime();

  /**
   * @param command as a person types it, for Spark's pages
   * @param err where progress and remarks go
   */
  TrainingRun(String command, TrainOptions options, PrintStream err) {
    this.command = command;
    this.options = options;
    this.err = err;
  }

  /** The run's configuration as it is trained, where it is to run. */
  RunConfig config(ResolvedConfig resolved) {
    return asRun(resolved).toRunConfig();
  }

  /** What is written down is what runs. */
  private ResolvedConfig asRun(ResolvedConfig resolved) {
    return options.engine() == Engine.LOCAL ? resolved.forLocalEngine("--engine local") : resolved;
  }

  /**
   * Trains to the end.
   *
   * @param resolved the configuration with its origins
   * @param config the same as {@link #config} gave it
   * @throws IllegalArgumentException when folder or cluster do not fit, in one sentence and before
   *     anything is written
   */
  TrainJob.Trained run(
      ResolvedConfig resolved, RunConfig config, TrainingRows rows, Configuration hadoop)
      throws IOException, InterruptedException {
    resolved.notes().forEach(err::println);
    try (Store store = HadoopStore.open(options.out(), hadoop)) {
      RunFolder folder = new RunFolder(store);
      Resume resume = resume(store, hadoop);
      folder.requireRoomFor(config, rows.identity(), resume);
      RunPlan plan = new RunPlan(config, asRun(resolved).toYaml(), rows, folder, resume);
      err.print(plan.configYaml());
      FinishedRun finished;
      try (RunConsole console = new RunConsole(plan, err)) {
        finished =
            options.engine() == Engine.LOCAL
                ? LocalRun.run(plan, Runtime.getRuntime().availableProcessors(), console)
                : onSpark(plan, hadoop, console);
      }
      finished.remarks().forEach(err::println);
      return close(plan, finished);
    }
  }

  private FinishedRun onSpark(RunPlan plan, Configuration hadoop, RunConsole console)
      throws IOException, InterruptedException {
    int teacherTopK = plan.dataset().teacherTopK();
    try (SparkSetup spark =
        SparkSetup.start(plan.config(), teacherTopK, options.executors(), command)) {
      spark.remarks().forEach(err::println);
      return SparkTraining.run(spark.context(), spark.numRanks(), plan, hadoop, console);
    }
  }

  private Resume resume(Store store, Configuration hadoop) throws IOException {
    return switch (options.resume()) {
      case TrainOptions.RESUME_AUTO -> Resume.auto();
      case TrainOptions.RESUME_NEVER -> Resume.never();
      default -> checkpoint(store, hadoop);
    };
  }

  private Resume checkpoint(Store store, Configuration hadoop) throws IOException {
    Matcher matcher = CHECKPOINT_STEP.matcher(options.resume());
    List<Integer> steps = new CheckpointStore(store).committedSteps();
    if (matcher.matches() && (matcher.group(1) == null || isInCheckpoints(hadoop))) {
      int step = Integer.parseInt(matcher.group(2));
      if (steps.contains(step)) {
        return Resume.from(step);
      }
    }
    throw new IllegalArgumentException(
        "--resume "
            + options.resume()
            + " is no checkpoint of --out "
            + options.out()
            + ", expected auto, never, or step-N, alone or as a path into that folder, with N one"
            + " of "
            + steps
            + "; name one of these");
  }

  /** A checkpoint of another run must not stand for the one of the same step in this run. */
  private boolean isInCheckpoints(Configuration hadoop) throws IOException {
    Path out = new Path(options.out());
    Path checkpoints =
        new Path(out.getFileSystem(hadoop).makeQualified(out), CheckpointStore.FOLDER);
    Path given = new Path(options.resume());
    // A file system that is named may be unknown, which only says that the path is not in --out.
    FileSystem files = (given.toUri().getScheme() == null ? given : out).getFileSystem(hadoop);
    Path resumed = given.makeQualified(files.getUri(), files.getWorkingDirectory());
    return checkpoints.equals(resumed.getParent());
  }

  private TrainJob.Trained close(RunPlan plan, FinishedRun finished) throws IOException {
    double wallSeconds = (System.nanoTime() - startNanos) * 1e-9;
    RunSummary summary =
        RunSummary.of(
            plan.config(),
            withSteps(finished.result(), plan.folder().store()),
            plan.dataset().validationBytesPerToken(),
            wallSeconds,
            finished.executors(),
            finished.stageAttempts());
    List<ExpertUse> use = ExpertUses.of(plan.config().model(), finished.result().evaluation());
    RunReporter.draw(plan.folder().store(), use);
    plan.folder().writeSummary(summary);
    return new TrainJob.Trained(summary, use);
  }

  /** A run that had no step left is summed up by those that it kept. */
  private static RunResult withSteps(RunResult result, Store run) throws IOException {
    boolean kept = result.metrics().isEmpty() && run.exists(MetricsLog.FILE);
    return kept ? result.withMetrics(RunMetrics.read(run).steps()) : result;
  }
}
