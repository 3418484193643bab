package io.sparkmoe.spark.cluster;

import org.apache.spark.SparkConf;

/** Spark settings that a run needs; a value that the user has set is never replaced. */
public final class ClusterDefaults {

  private static final String DEFAULT_OPTIONS = "spark.executor.defaultJavaOptions";
  private static final String REGISTRATOR = "spark.kryo.registrator";

  private ClusterDefaults() {}

  /**
   * Fills in what is missing, before the Spark context starts.
   *
   * @param numRanks ranks of the run
   * @param need memory of one rank
   */
  public static void fillIn(SparkConf conf, int numRanks, MemoryNeed need) {
    // Spark's default is a year: a rank that never comes would hang the others for as long.
    conf.setIfMissing("spark.barrier.sync.timeout", "120s");
    conf.setIfMissing("spark.scheduler.barrier.maxConcurrentTasksCheck.interval", "1s");
    conf.setIfMissing("spark.scheduler.barrier.maxConcurrentTasksCheck.maxFailures", "30");
    // A barrier stage starts only when all its tasks have a place; waiting for a nearer one keeps
    // it from starting.
    conf.setIfMissing("spark.locality.wait", "0s");
    conf.setIfMissing("spark.dynamicAllocation.enabled", "false");
    conf.setIfMissing("spark.executorEnv.OMP_NUM_THREADS", "1");
    addRegistrator(conf);
    addNativeMemoryLimits(conf, numRanks, need);
    addHeapShape(conf);
  }

  private static void addRegistrator(SparkConf conf) {
    String ours = MoeKryoRegistrator.class.getName();
    String present = conf.get(REGISTRATOR, "");
    if (!present.contains(ours)) {
      conf.set(REGISTRATOR, present.isBlank() ? ours : present + "," + ours);
    }
  }

  /**
   * Heaps are small and hold little that lives long: a young generation of fixed size and the
   * collector without threads of its own keep what an executor takes small and foreseeable ({@link
   * io.sparkmoe.train.ResidentMemory}). Options that choose otherwise are left alone.
   */
  private static void addHeapShape(SparkConf conf) {
    String options = conf.get(JavaCppLimits.OPTIONS, "");
    String all = conf.get(DEFAULT_OPTIONS, "") + " " + options;
    if (!all.contains("GC") && !all.contains("-Xmn") && !all.contains("NewSize")) {
      conf.set(JavaCppLimits.OPTIONS, (options + " -XX:+UseSerialGC -Xmn128m").strip());
    }
  }

  /**
   * JavaCPP's defaults follow the heap, which is small here; the arena's own byte limit is the one
   * that counts.
   */
  private static void addNativeMemoryLimits(SparkConf conf, int numRanks, MemoryNeed need) {
    String options = conf.get(JavaCppLimits.OPTIONS, "");
    int ranks = ClusterShape.of(conf).ranksPerExecutor(numRanks);
    String added = "";
    if (!JavaCppLimits.isSet(options, JavaCppLimits.MAX_BYTES)) {
      long mebibytes = ranks * ((need.offHeapBytes() >> 20) + 1);
      added += " -D" + JavaCppLimits.MAX_BYTES + "=" + mebibytes + "m";
    }
    if (!JavaCppLimits.isSet(options, JavaCppLimits.MAX_PHYSICAL_BYTES)) {
      // 0 is no limit: it would count Spark's own buffers too.
      added += " -D" + JavaCppLimits.MAX_PHYSICAL_BYTES + "=0";
    }
    conf.set(JavaCppLimits.OPTIONS, (options + added).strip());
  }
}
