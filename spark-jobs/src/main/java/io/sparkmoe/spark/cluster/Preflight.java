package io.sparkmoe.spark.cluster;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.api.java.JavaSparkContext;

/**
 * Checks before a run that the cluster can hold it, so that a wrong setting costs seconds and not
 * Spark's ten silent minutes or a killed container. Each failure is one sentence that names the
 * setting, its value and the value needed.
 */
public final class Preflight {

  /** The Spark line that the network layer is used of; its classes are not a public API. */
  private static final String SPARK_LINE = "4.1.";

  /** What a JVM, netty and Spark take besides heap and tensors, bytes. */
  private static final long RESERVE_BYTES = 512L << 20;

  private static final long MIN_OVERHEAD_BYTES = 384L << 20;
  private static final long POLL_MILLIS = 100;

  private Preflight() {}

  /**
   * Checks the settings alone; may be called before Spark starts.
   *
   * @param numRanks ranks of the run
   * @param need memory of one rank
   * @throws PreflightException naming the setting to change
   */
  public static void checkSettings(SparkConf conf, int numRanks, MemoryNeed need) {
    checkSettings(conf, numRanks, need, MachineMemory.availableBytes());
  }

  static void checkSettings(SparkConf conf, int numRanks, MemoryNeed need, long availableBytes) {
    String sparkVersion = org.apache.spark.package$.MODULE$.SPARK_VERSION();
    checkSparkVersion(sparkVersion);
    checkCipher(conf, sparkVersion);
    if (!hasVectorModule()) {
      throw new PreflightException(
          "the driver runs without the module jdk.incubator.vector; add"
              + " --add-modules=jdk.incubator.vector to"
              + " spark.driver.extraJavaOptions");
    }
    if (conf.getBoolean("spark.dynamicAllocation.enabled", false)) {
      throw new PreflightException(
          "spark.dynamicAllocation.enabled is true, but a barrier stage needs all its executors"
              + " at once; set it to"
              + " false");
    }
    ClusterShape shape = ClusterShape.of(conf);
    checkThreads(conf, shape);
    int slots = shape.slots();
    if (slots >= 0 && slots < numRanks) {
      throw new PreflightException(tooFewSlots("the settings give", shape, slots, numRanks));
    }
    checkMemory(conf, shape, numRanks, need, availableBytes);
  }

  /**
   * Checks that this process may grow so far, for work without Spark.
   *
   * @param residentBytes physical memory that the process is expected to hold
   * @param remedy what to change when that is too much
   * @throws PreflightException when this machine has less memory free
   */
  public static void checkThisMachine(long residentBytes, String remedy) {
    checkThisMachine(residentBytes, remedy, MachineMemory.availableBytes());
  }

  /** Whether this machine has that much memory free. */
  public static boolean fitsThisMachine(long residentBytes) {
    return residentBytes <= MachineMemory.availableBytes();
  }

  static void checkThisMachine(long residentBytes, String remedy, long availableBytes) {
    if (availableBytes < residentBytes) {
      throw new PreflightException(
          "this machine has "
              + mib(availableBytes)
              + " of free memory, expected at least "
              + mib(residentBytes)
              + " for this process; "
              + remedy);
    }
  }

  /**
   * Waits until the executors are there.
   *
   * @param numRanks ranks of the run
   * @param deadline longest wait
   * @return what is worth telling although it hinders nothing, one sentence each
   * @throws PreflightException when too few have come
   */
  public static List<String> awaitExecutors(JavaSparkContext sc, int numRanks, Duration deadline)
      throws InterruptedException {
    SparkContext context = sc.sc();
    long end = System.nanoTime() + deadline.toNanos();
    ClusterShape shape = ClusterShape.of(sc.getConf());
    // One executor may have room for all ranks, and the others come later; how many is -1 where
    // only
    // the cluster knows, and then room is enough.
    int expected = Math.min(numRanks, shape.numExecutors());
    int slots = slots(context);
    int executors = executors(context, shape);
    while ((slots < numRanks || executors < expected) && System.nanoTime() - end < 0) {
      Thread.sleep(POLL_MILLIS);
      slots = slots(context);
      executors = executors(context, shape);
    }
    if (slots < numRanks) {
      throw new PreflightException(tooFewExecutors(shape, executors, deadline, slots, numRanks));
    }
    List<String> remarks = new ArrayList<>();
    if (executors < numRanks) {
      remarks.add(
          numRanks
              + " ranks share "
              + executors
              + " executor process(es) and compete for its memory; one rank per"
              + " executor needs spark.task.cpus equal to spark.executor.cores");
    }
    return remarks;
  }

  static void checkSparkVersion(String version) {
    if (!version.startsWith(SPARK_LINE)) {
      throw new PreflightException(
          "Spark is version "
              + version
              + ", expected "
              + SPARK_LINE
              + "x; set SPARK_HOME to such a Spark, or leave it"
              + " unset for the embedded one");
    }
  }

  /**
   * SPARK-56227: that cipher's decoder drops every message after a channel's first, Spark's own
   * too.
   */
  private static void checkCipher(SparkConf conf, String sparkVersion) {
    String key = "spark.network.crypto.cipher";
    if (sparkVersion.equals("4.1.0")
        && conf.get(key, "").toUpperCase(Locale.ROOT).startsWith("AES/GCM")) {
      throw new PreflightException(
          key
              + " is "
              + conf.get(key)
              + ", which loses messages in Spark 4.1.0 (SPARK-56227); set it to"
              + " AES/CTR/NoPadding, or use spark.ssl.rpc.enabled");
    }
  }

  static boolean hasVectorModule() {
    return ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent();
  }

  private static void checkThreads(SparkConf conf, ClusterShape shape) {
    String key = "spark.executorEnv.OMP_NUM_THREADS";
    // Unset, Spark gives each executor its spark.task.cpus, and GEMM calls would start threads of
    // their own.
    String threads = conf.get(key, Integer.toString(shape.taskCpus()));
    if (shape.kind() != ClusterShape.Kind.LOCAL && !threads.equals("1")) {
      throw new PreflightException(
          key
              + " is "
              + (conf.contains(key) ? threads : "unset, so spark.task.cpus=" + threads)
              + ", expected 1 (a rank runs its own threads); set it to 1");
    }
  }

  static String tooFewExecutors(
      ClusterShape shape, int executors, Duration deadline, int slots, int numRanks) {
    String who = executors + " executor(s) came within " + deadline.toSeconds() + " s and have";
    if (shape.slots() < numRanks) {
      return tooFewSlots(who, shape, slots, numRanks);
    }
    return who
        + " slots for "
        + slots
        + " task(s), expected "
        + numRanks
        + " (one per rank); the settings ask for"
        + " enough, so see the executors' logs and whether other applications hold the cluster's"
        + " cores";
  }

  private static String tooFewSlots(String who, ClusterShape shape, int slots, int numRanks) {
    String remedy =
        switch (shape.kind()) {
          case LOCAL -> "set --master local[" + numRanks * shape.taskCpus() + "]";
          case LOCAL_CLUSTER ->
              "set --master local-cluster["
                  + numRanks
                  + ","
                  + Math.max(shape.taskCpus(), shape.coresPerExecutor())
                  + ",MB]";
          case CONTAINERS ->
              "raise spark.executor.instances or spark.executor.cores, or lower --executors";
          case STANDALONE -> "raise spark.cores.max or add workers, or lower --executors";
        };
    return who
        + " slots for "
        + slots
        + " task(s) of spark.task.cpus="
        + shape.taskCpus()
        + ", expected "
        + numRanks
        + " (one per rank); "
        + remedy;
  }

  private static void checkMemory(
      SparkConf conf, ClusterShape shape, int numRanks, MemoryNeed need, long availableBytes) {
    int ranks = shape.ranksPerExecutor(numRanks);
    long heap = ranks * need.heapBytes();
    long offHeap = ranks * need.offHeapBytes();
    String perExecutor = ranks == 1 ? " for one rank" : " for " + ranks + " ranks in one process";
    if (shape.heapBytes() < heap) {
      String key =
          shape.kind() == ClusterShape.Kind.LOCAL ? "spark.driver.memory" : "spark.executor.memory";
      throw new PreflightException(
          key
              + " is "
              + mib(shape.heapBytes())
              + ", expected at least "
              + mib(heap)
              + perExecutor
              + "; raise it");
    }
    if (shape.workerBytes() >= 0 && shape.workerBytes() < shape.heapBytes()) {
      throw new PreflightException(
          "--master "
              + conf.get("spark.master")
              + " gives a worker "
              + mib(shape.workerBytes())
              + ", expected at least spark.executor.memory="
              + mib(shape.heapBytes())
              + "; raise its third number");
    }
    checkNativeMemory(JavaCppLimits.of(conf, shape), shape, heap, offHeap, perExecutor);
    switch (shape.kind()) {
      case CONTAINERS -> checkOverhead(conf, shape, offHeap, perExecutor);
      case LOCAL, LOCAL_CLUSTER -> {
        long all = numRanks * need.residentBytes();
        if (availableBytes < all) {
          throw new PreflightException(
              "this machine has "
                  + mib(availableBytes)
                  + " of free memory, expected at least "
                  + mib(all)
                  + " for "
                  + numRanks
                  + " rank(s); lower --executors or train.micro_batch_sequences");
        }
      }
      case STANDALONE -> {
        // A worker limits heaps only; what its machine holds is not in the settings.
      }
    }
  }

  private static void checkNativeMemory(
      JavaCppLimits limits, ClusterShape shape, long heap, long offHeap, String perExecutor) {
    String options =
        shape.kind() == ClusterShape.Kind.LOCAL
            ? "spark.driver.extraJavaOptions"
            : JavaCppLimits.OPTIONS;
    if (limits.maxBytes() > 0 && limits.maxBytes() < offHeap) {
      throw new PreflightException(
          "JavaCPP's maxbytes is "
              + mib(limits.maxBytes())
              + ", expected at least "
              + mib(offHeap)
              + perExecutor
              + "; add -D"
              + JavaCppLimits.MAX_BYTES
              + "="
              + (offHeap >> 20)
              + "m to "
              + options);
    }
    if (limits.maxPhysicalBytes() > 0 && limits.maxPhysicalBytes() < heap + offHeap) {
      throw new PreflightException(
          "JavaCPP's maxphysicalbytes is "
              + mib(limits.maxPhysicalBytes())
              + ", expected at least "
              + mib(heap + offHeap)
              + perExecutor
              + "; add -D"
              + JavaCppLimits.MAX_PHYSICAL_BYTES
              + "=0 to "
              + options);
    }
  }

  private static void checkOverhead(
      SparkConf conf, ClusterShape shape, long offHeap, String perExecutor) {
    String key = "spark.executor.memoryOverhead";
    double factor = conf.getDouble("spark.executor.memoryOverheadFactor", 0.1);
    long defaultBytes = Math.max((long) (factor * shape.heapBytes()), MIN_OVERHEAD_BYTES);
    long overhead = ClusterShape.bytes(conf, key, (defaultBytes >> 20) + "m");
    long needed = offHeap + RESERVE_BYTES;
    if (overhead < needed) {
      throw new PreflightException(
          key
              + " is "
              + mib(overhead)
              + (conf.contains(key) ? "" : " (Spark's default)")
              + ", expected at least "
              + mib(needed)
              + perExecutor
              + "; set it to "
              + (needed >> 20)
              + "m");
    }
  }

  private static int slots(SparkContext context) {
    return context.maxNumConcurrentTasks(context.resourceProfileManager().defaultResourceProfile());
  }

  /**
   * Executor processes, from the same table of the scheduler as {@link #slots}: Spark's status API
   * lists one some time after its slots are offered. A local master's only process is the driver.
   */
  private static int executors(SparkContext context, ClusterShape shape) {
    return shape.kind() == ClusterShape.Kind.LOCAL ? 1 : context.getExecutorIds().size();
  }

  private static String mib(long bytes) {
    return (bytes >> 20) + " MiB";
  }
}
