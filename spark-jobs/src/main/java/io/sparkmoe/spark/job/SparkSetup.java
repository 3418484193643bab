package io.sparkmoe.spark.job;

import io.sparkmoe.spark.cluster.ClusterDefaults;
import io.sparkmoe.spark.cluster.ClusterShape;
import io.sparkmoe.spark.cluster.KryoRoundTrip;
import io.sparkmoe.spark.cluster.MasterCheck;
import io.sparkmoe.spark.cluster.MemoryNeed;
import io.sparkmoe.spark.cluster.Preflight;
import io.sparkmoe.train.RankMemory;
import io.sparkmoe.train.ResidentMemory;
import io.sparkmoe.train.RunConfig;
import java.time.Duration;
import java.util.List;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;

/** Starts Spark for a training run when all settings allow it. */
final class SparkSetup implements AutoCloseable {

  /** Rows and Spark itself, for one rank. */
  private static final long HEAP_BYTES = 512L << 20;

  private final JavaSparkContext context;
  private final int numRanks;
  private final List<String> remarks;

  private SparkSetup(JavaSparkContext context, int numRanks, List<String> remarks) {
    this.context = context;
    this.numRanks = numRanks;
    this.remarks = remarks;
  }

  /**
   * Checks the settings, starts Spark and waits for its executors.
   *
   * @param teacherTopK tokens that a teacher stores of a position, as far as the loss reads them
   * @param executors ranks, 0 = as many as the settings name
   * @throws io.sparkmoe.spark.cluster.PreflightException naming the setting to change
   */
  static SparkSetup start(RunConfig config, int teacherTopK, int executors, String name)
      throws InterruptedException {
    SparkConf conf = new SparkConf().setIfMissing("spark.app.name", name);
    MasterCheck.check(conf);
    int numRanks = executors > 0 ? executors : ClusterShape.of(conf).requireNumExecutors();
    MemoryNeed need =
        new MemoryNeed(
            HEAP_BYTES + RankMemory.waitingFrameBytes(config, numRanks),
            RankMemory.ofRank(config, numRanks, teacherTopK).limitBytes(),
            ResidentMemory.executor(config, numRanks, teacherTopK).bytes());
    ClusterDefaults.fillIn(conf, numRanks, need);
    Preflight.checkSettings(conf, numRanks, need);
    KryoRoundTrip.check(conf);
    JavaSparkContext context = new JavaSparkContext(conf);
    try {
      Duration deadline = Duration.ofSeconds(config.cluster().deadlineSeconds());
      List<String> remarks = Preflight.awaitExecutors(context, numRanks, deadline);
      return new SparkSetup(context, numRanks, remarks);
    } catch (RuntimeException | InterruptedException e) {
      context.close();
      throw e;
    }
  }

  JavaSparkContext context() {
    return context;
  }

  int numRanks() {
    return numRanks;
  }

  /** What is worth telling although it hinders nothing, one sentence each. */
  List<String> remarks() {
    return remarks;
  }

  @Override
  public void close() {
    context.close();
  }
}
