package io.sparkmoe.spark.cluster;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.spark.SparkConf;
import org.apache.spark.network.util.ByteUnit;
import org.apache.spark.network.util.JavaUtils;

/**
 * What the settings say about the executors that will come, before any is there.
 *
 * @param kind who starts the executors
 * @param numExecutors executors, or -1 where only the running cluster knows
 * @param coresPerExecutor cores of one executor, or -1 where only the running cluster knows
 * @param taskCpus {@code spark.task.cpus}
 * @param heapBytes {@code spark.executor.memory}; the driver's heap in local mode
 * @param workerBytes memory of a local-cluster's worker, or -1
 */
public record ClusterShape(
    Kind kind,
    int numExecutors,
    int coresPerExecutor,
    int taskCpus,
    long heapBytes,
    long workerBytes) {

  /** Who starts executors and so limits their memory. */
  public enum Kind {
    /** Tasks are threads of the driver. */
    LOCAL,
    /** Executor processes on this machine. */
    LOCAL_CLUSTER,
    /** YARN or Kubernetes: a container is killed when it passes heap plus overhead. */
    CONTAINERS,
    /** Standalone workers. */
    STANDALONE
  }

  private static final Pattern LOCAL =
      Pattern.compile("local(?:\\[\\s*([0-9]+|\\*)\\s*(?:,.*)?])?");
  private static final Pattern LOCAL_CLUSTER =
      Pattern.compile("local-cluster\\[\\s*([0-9]+)\\s*,\\s*([0-9]+)\\s*,\\s*([0-9]+)\\s*]");

  /** Whether Spark knows a master of that spelling. */
  static boolean isMaster(String master) {
    return LOCAL.matcher(master).matches()
        || LOCAL_CLUSTER.matcher(master).matches()
        || isContainers(master)
        || master.startsWith("spark://");
  }

  private static boolean isContainers(String master) {
    return master.equals("yarn") || master.startsWith("k8s://");
  }

  /** Reads the settings. */
  public static ClusterShape of(SparkConf conf) {
    String master = conf.get("spark.master", "local[*]");
    int taskCpus = conf.getInt("spark.task.cpus", 1);
    long heap = bytes(conf, "spark.executor.memory", "1g");
    Matcher local = LOCAL.matcher(master);
    if (local.matches()) {
      String threads = local.group(1);
      int cores =
          threads == null
              ? 1
              : threads.equals("*")
                  ? Runtime.getRuntime().availableProcessors()
                  : Integer.parseInt(threads);
      return new ClusterShape(Kind.LOCAL, 1, cores, taskCpus, Runtime.getRuntime().maxMemory(), -1);
    }
    Matcher cluster = LOCAL_CLUSTER.matcher(master);
    if (cluster.matches()) {
      return new ClusterShape(
          Kind.LOCAL_CLUSTER,
          Integer.parseInt(cluster.group(1)),
          Integer.parseInt(cluster.group(2)),
          taskCpus,
          heap,
          Long.parseLong(cluster.group(3)) << 20);
    }
    if (isContainers(master)) {
      int executors = conf.getInt("spark.executor.instances", 2);
      return new ClusterShape(
          Kind.CONTAINERS, executors, conf.getInt("spark.executor.cores", 1), taskCpus, heap, -1);
    }
    return new ClusterShape(
        Kind.STANDALONE, -1, conf.getInt("spark.executor.cores", -1), taskCpus, heap, -1);
  }

  /** Tasks that can run at once, or -1 where only the running cluster knows. */
  public int slots() {
    return numExecutors < 0 || coresPerExecutor < 0
        ? -1
        : numExecutors * (coresPerExecutor / taskCpus);
  }

  /**
   * Executors that will come.
   *
   * @throws PreflightException where only the running cluster knows
   */
  public int requireNumExecutors() {
    if (numExecutors < 0) {
      throw new PreflightException(
          "a standalone cluster's settings do not say how many executors will come, expected a"
              + " number; set"
              + " --executors");
    }
    return numExecutors;
  }

  /** Most ranks that one executor may be given. */
  int ranksPerExecutor(int numRanks) {
    int fit = coresPerExecutor < 0 ? 1 : Math.max(1, coresPerExecutor / taskCpus);
    return Math.min(fit, numRanks);
  }

  static long bytes(SparkConf conf, String key, String defaultValue) {
    return JavaUtils.byteStringAs(conf.get(key, defaultValue), ByteUnit.MiB) << 20;
  }
}
