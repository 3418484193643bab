package io.sparkmoe.spark.teach;

import io.sparkmoe.distill.Prompt;
import io.sparkmoe.distill.RequestIds;
import io.sparkmoe.distill.SamplingSettings;
import io.sparkmoe.distill.TeacherFailure;
import io.sparkmoe.distill.TeacherIdentity;
import io.sparkmoe.distill.TokenUsage;
import io.sparkmoe.spark.data.AnswerFolder;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import org.apache.spark.HashPartitioner;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.storage.StorageLevel;
import org.apache.spark.util.SerializableConfiguration;
import scala.Tuple2;

/**
 * Gets the answers that a folder lacks. A request is known by its id, so prompts that occur twice
 * are asked once, and what the folder holds is not asked again.
 */
public final class AnswerRun {

  /** Rounds after lost executors before it is given up. */
  private static final int MAX_ROUNDS = 5;

  private final SparkSession spark;
  private final JavaSparkContext context;
  private final TeacherSpec spec;
  private final SamplingSettings sampling;
  private final int samples;
  private final AnswerFolder folder;
  private final String location;
  private final Progress progress;

  /**
   * @param samples answers for each prompt
   * @param folder of the answers
   * @param location of that folder
   * @param progress is told how far it is
   */
  public AnswerRun(
      SparkSession spark,
      TeacherSpec spec,
      SamplingSettings sampling,
      int samples,
      AnswerFolder folder,
      String location,
      Progress progress) {
    this.spark = spark;
    this.context = JavaSparkContext.fromSparkContext(spark.sparkContext());
    this.spec = spec;
    this.sampling = sampling;
    this.samples = samples;
    this.folder = folder;
    this.location = location;
    this.progress = progress;
  }

  /**
   * What became of the requests.
   *
   * @param requests different ones
   * @param failed of them without an answer, as far as they were asked
   * @param reasons why, some of them
   * @param stop why asking ended early, null = it did not
   */
  public record Result(long requests, long failed, List<String> reasons, TeacherFailure stop) {}

  /** Something to do before all but the first is asked. */
  @FunctionalInterface
  public interface Start {
    void run() throws IOException;
  }

  /**
   * Asks what is not answered yet.
   *
   * @param prompts lines of {@link Prompt#toJson}
   * @param start is run once it is clear that the teacher answers
   */
  public Result run(JavaRDD<String> prompts, Start start) throws IOException, InterruptedException {
    if (spark.sparkContext().getConf().getBoolean("spark.speculation", false)) {
      throw new IllegalArgumentException(
          "spark.speculation is true, expected false: a second copy of a task would ask the"
              + " teacher everything twice; set it to false");
    }
    JavaPairRDD<String, String> all = requests(prompts);
    try {
      long total = all.count();
      if (total == 0) {
        throw new IllegalArgumentException(
            "there are no prompts: got only blank ones, expected at least one; correct --prompts");
      }
      Asked asked = new Asked();
      JavaPairRDD<String, String> requests = spec.isRemote() ? probe(all, asked) : all;
      if (asked.stop() == null) {
        start.run();
      }
      // A round asks all that is pending, failed requests of the one before too, but the probe.
      long probesFailed = asked.failed();
      Asked last = new Asked();
      for (int round = 1; round <= MAX_ROUNDS && asked.stop() == null; round++) {
        last = round(requests, total);
        asked.add(last);
        if (!last.isAgain()) {
          break;
        }
      }
      if (last.isAgain() && asked.stop() == null) {
        giveUp(pending(requests).count() - last.failed(), total, asked);
      }
      return new Result(total, probesFailed + last.failed(), asked.reasons(), asked.stop());
    } finally {
      all.unpersist();
    }
  }

  /** Ids and prompts, each id once; hashed ids spread evenly over any number of partitions. */
  private JavaPairRDD<String, String> requests(JavaRDD<String> prompts) {
    TeacherIdentity identity = spec.identity();
    SamplingSettings settings = sampling;
    int perPrompt = samples;
    return prompts
        .mapPartitionsToPair(lines -> withIds(new RequestIds(identity, settings), perPrompt, lines))
        .reduceByKey((first, second) -> first)
        .persist(StorageLevel.MEMORY_AND_DISK());
  }

  private static Iterator<Tuple2<String, String>> withIds(
      RequestIds ids, int samples, Iterator<String> lines) {
    List<Tuple2<String, String>> requests = new ArrayList<>();
    lines.forEachRemaining(
        line -> {
          Prompt prompt = Prompt.fromJson(line, "prompt");
          for (int sample = 0; sample < samples; sample++) {
            requests.add(new Tuple2<>(ids.idOf(prompt, sample), line));
          }
        });
    return requests.iterator();
  }

  private Asked round(JavaPairRDD<String, String> requests, long total) throws IOException {
    JavaPairRDD<String, String> pending = pending(requests);
    long left = pending.count();
    if (left == 0) {
      return new Asked();
    }
    int askers =
        (int) Math.min(left, Math.min(spec.maxAskers(), Math.max(1, context.defaultParallelism())));
    TokenUsage spent = folder.state().usage();
    AskTask task = task();
    // By id: dealt in turns, a partition would depend on the order of its input, and Spark ends a
    // job
    // that lost one after another was done.
    JavaRDD<Asked> tasks =
        pending
            .partitionBy(new HashPartitioner(askers))
            .mapPartitions(lines -> task.run(askers, spent, lines));
    Asked sum = new Asked();
    try (Progress.Watch watch = progress.watch(folder, total)) {
      tasks.collect().forEach(sum::add);
    }
    return sum;
  }

  /** Tasks were lost in every round; what they asked may have been answered all the same. */
  private static void giveUp(long unanswered, long total, Asked asked) {
    if (unanswered > 0) {
      asked.stopped(
          new TeacherFailure(
              TeacherFailure.Kind.ASKING_FAILED,
              unanswered
                  + " of "
                  + total
                  + " requests are unanswered after "
                  + MAX_ROUNDS
                  + " rounds, each of which lost tasks, expected executors that live; see their"
                  + " logs, mend what ends them and run the same command again"));
    }
  }

  private JavaPairRDD<String, String> pending(JavaPairRDD<String, String> requests)
      throws IOException {
    Broadcast<Set<String>> answered = context.broadcast(folder.ids(spark));
    return requests.filter(request -> !answered.value().contains(request._1));
  }

  /**
   * Asks one request from here. A wrong key, address or model shows at once, in one sentence,
   * before any task asks; the answer counts as any other.
   *
   * @param asked hears what became of it
   * @return the requests that tasks may ask: a probe that failed was tried often enough
   */
  private JavaPairRDD<String, String> probe(JavaPairRDD<String, String> requests, Asked asked)
      throws IOException, InterruptedException {
    TokenUsage spent = folder.state().usage();
    List<Tuple2<String, String>> first = pending(requests).take(1);
    asked.add(task().ask(0, 1, 1, spent, first.iterator()));
    if (asked.failed() == 0) {
      return requests;
    }
    String failed = first.get(0)._1;
    return requests.filter(request -> !request._1.equals(failed));
  }

  private AskTask task() {
    return new AskTask(
        spec, location, new SerializableConfiguration(context.hadoopConfiguration()));
  }
}
