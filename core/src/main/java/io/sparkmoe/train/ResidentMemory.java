package io.sparkmoe.train;

import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.tensor.DType;

/**
 * Physical memory that a process of a run comes to hold at its peak, from the config alone: what
 * the operating system calls its resident size. What is not in arenas was measured on JDK 17 and
 * Linux x86-64 with the launcher's JVM flags (core/docs/experiments.md, "Resident memory").
 *
 * @param arenaBytes tensors in the arenas of the process
 * @param heapBytes Java heap: a young generation of fixed size, which is always in use, and what
 *     lives long
 * @param wireBytes frames on their way to and from other processes
 * @param runtimeBytes JIT compiler and its code, classes, threads, pages of native libraries
 */
public record ResidentMemory(long arenaBytes, long heapBytes, long wireBytes, long runtimeBytes) {

  private static final long MIB = 1 << 20;

  /**
   * The launcher gives a process without Spark this young generation; see {@code deploy/bin/moe}.
   */
  private static final long LOCAL_YOUNG_BYTES = 64 * MIB;

  /** Long-lived objects of a process without Spark, config and dataset's tables included. */
  private static final long LOCAL_OLD_BYTES = 32 * MIB;

  /**
   * Of this, 60 MiB are pages of libdnnl, libnd4jcpu, libjvm and the class archive, 45 MiB classes,
   * 15 MiB code; the compiler's peak and what malloc keeps of it are the rest. What reads a dataset
   * takes up to 90 MiB more, of which half is counted, since a benchmark does without it.
   */
  private static final long LOCAL_RUNTIME_BYTES = 275 * MIB;

  /**
   * What the matrix library compiles for BF16 products of as many row counts as experts have, a
   * thread.
   */
  private static final long PRODUCT_BYTES = 32 * MIB;

  /** Executors are given this young generation; see {@code ClusterDefaults}. */
  private static final long EXECUTOR_YOUNG_BYTES = 128 * MIB;

  /** Spark's own objects in an executor. */
  private static final long EXECUTOR_OLD_BYTES = 32 * MIB;

  /** As {@link #LOCAL_RUNTIME_BYTES}, with Spark's and Scala's classes, netty and their threads. */
  private static final long EXECUTOR_RUNTIME_BYTES = 230 * MIB;

  /** Netty's pooled chunks of one executor. */
  private static final long EXECUTOR_WIRE_BYTES = 16 * MIB;

  /** Of {@code --engine local}, rank and driver in one process, on rows without a teacher. */
  public static ResidentMemory local(RunConfig config) {
    return local(config, 0);
  }

  /** Likewise, with so many tokens that a teacher stores of a position. */
  public static ResidentMemory local(RunConfig config, int teacherTopK) {
    return withoutSpark(
        RankMemory.ofRank(config, 1, teacherTopK).expectedBytes()
            + RankMemory.ofDriver(config, 1).expectedBytes(),
        Runtime.getRuntime().availableProcessors()
            * productBytes(config.train().precision(), config.cluster().gemmBackend()));
  }

  /** Of a process that only evaluates, with so many sequences in a pass. */
  public static ResidentMemory evaluation(
      ModelConfig model, Precision precision, String gemmBackend, int seqLen, int rows) {
    return withoutSpark(
        RankMemory.ofEvaluation(model, precision, gemmBackend, seqLen, rows).expectedBytes(), 0);
  }

  /** Of an executor with one rank, the one that holds most experts, on rows without a teacher. */
  public static ResidentMemory executor(RunConfig config, int numRanks) {
    return executor(config, numRanks, 0);
  }

  /** Likewise, with so many tokens that a teacher stores of a position. */
  public static ResidentMemory executor(RunConfig config, int numRanks, int teacherTopK) {
    return new ResidentMemory(
        RankMemory.ofRank(config, numRanks, teacherTopK).expectedBytes(),
        EXECUTOR_YOUNG_BYTES + EXECUTOR_OLD_BYTES,
        EXECUTOR_WIRE_BYTES,
        EXECUTOR_RUNTIME_BYTES
            + productBytes(config.train().precision(), config.cluster().gemmBackend()));
  }

  private static ResidentMemory withoutSpark(long arenaBytes, long productBytes) {
    return new ResidentMemory(
        arenaBytes, LOCAL_YOUNG_BYTES + LOCAL_OLD_BYTES, 0, LOCAL_RUNTIME_BYTES + productBytes);
  }

  private static long productBytes(Precision precision, String gemmBackend) {
    return precision.productInputs(gemmBackend) == DType.BF16 ? PRODUCT_BYTES : 0;
  }

  /** All of it. */
  public long bytes() {
    return arenaBytes + heapBytes + wireBytes + runtimeBytes;
  }
}
