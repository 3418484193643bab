package io.sparkmoe.spark.cluster;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.parallel.FatalRunException;
import java.time.Duration;
import org.apache.spark.SparkConf;
import org.junit.jupiter.api.Test;

/** Each refusal names the setting, its value and the value needed. */
class PreflightTest {

  private static final long MIB = 1L << 20;
  private static final long MACHINE = 16_000 * MIB;
  private static final MemoryNeed NEED = new MemoryNeed(500 * MIB, 2000 * MIB, 2600 * MIB);

  private static SparkConf localCluster() {
    SparkConf conf = new SparkConf(false).setMaster("local-cluster[2,1,1024]");
    ClusterDefaults.fillIn(conf, 2, NEED);
    return conf;
  }

  private static SparkConf yarn() {
    SparkConf conf =
        new SparkConf(false)
            .setMaster("yarn")
            .set("spark.executor.instances", "2")
            .set("spark.executor.memoryOverhead", "3g");
    ClusterDefaults.fillIn(conf, 2, NEED);
    return conf;
  }

  private static void refused(SparkConf conf, int numRanks, String message) {
    assertThatThrownBy(() -> Preflight.checkSettings(conf, numRanks, NEED, MACHINE))
        .isInstanceOf(PreflightException.class)
        .hasMessage(message);
  }

  @Test
  void defaultsPass() {
    assertThatCode(() -> Preflight.checkSettings(localCluster(), 2, NEED, MACHINE))
        .doesNotThrowAnyException();
    assertThatCode(() -> Preflight.checkSettings(yarn(), 2, NEED, MACHINE))
        .doesNotThrowAnyException();
  }

  @Test
  void tooFewSlotsAreRefusedBeforeSparkStarts() {
    refused(
        localCluster(),
        3,
        "the settings give slots for 2 task(s) of spark.task.cpus=1, expected 3 (one per rank); set --master"
            + " local-cluster[3,1,MB]");
    refused(
        yarn().set("spark.task.cpus", "4").set("spark.executor.cores", "7"),
        3,
        "the settings give slots for 2 task(s) of spark.task.cpus=4, expected 3 (one per rank); raise"
            + " spark.executor.instances or spark.executor.cores, or lower --executors");
  }

  @Test
  void executorsThatDoNotComeAreCounted() {
    assertThat(
            Preflight.tooFewExecutors(
                ClusterShape.of(localCluster()), 1, Duration.ofSeconds(30), 1, 2))
        .isEqualTo(
            "1 executor(s) came within 30 s and have slots for 1 task(s), expected 2 (one per rank); the settings ask"
                + " for enough, so see the executors' logs and whether other applications hold the cluster's cores");
    ClusterShape standalone = ClusterShape.of(new SparkConf(false).setMaster("spark://host:7077"));
    assertThat(Preflight.tooFewExecutors(standalone, 0, Duration.ofSeconds(30), 0, 2))
        .isEqualTo(
            "0 executor(s) came within 30 s and have slots for 0 task(s) of spark.task.cpus=1, expected 2 (one per"
                + " rank); raise spark.cores.max or add workers, or lower --executors");
  }

  @Test
  void settingsNameTheExecutorsButThoseOfAStandaloneCluster() {
    SparkConf yarn = new SparkConf(false).setMaster("yarn").set("spark.executor.instances", "5");
    assertThat(ClusterShape.of(yarn).requireNumExecutors()).isEqualTo(5);
    assertThat(executors("local-cluster[3,1,1024]")).isEqualTo(3);
    assertThat(executors("local[4]")).isEqualTo(1);
    assertThatThrownBy(() -> executors("spark://host:7077"))
        .isInstanceOf(PreflightException.class)
        .hasMessage(
            "a standalone cluster's settings do not say how many executors will come, expected a"
                + " number; set --executors");
  }

  private static int executors(String master) {
    return ClusterShape.of(new SparkConf(false).setMaster(master)).requireNumExecutors();
  }

  @Test
  void dynamicAllocationIsRefused() {
    refused(
        localCluster().set("spark.dynamicAllocation.enabled", "true"),
        2,
        "spark.dynamicAllocation.enabled is true, but a barrier stage needs all its executors at once; set it to"
            + " false");
  }

  @Test
  void nativeThreadsAreRefused() {
    SparkConf conf = yarn().set("spark.task.cpus", "4").set("spark.executor.cores", "4");
    refused(
        conf.clone().remove("spark.executorEnv.OMP_NUM_THREADS"),
        2,
        "spark.executorEnv.OMP_NUM_THREADS is unset, so spark.task.cpus=4, expected 1 (a rank runs its own threads);"
            + " set it to 1");
    refused(
        conf.clone().set("spark.executorEnv.OMP_NUM_THREADS", "2"),
        2,
        "spark.executorEnv.OMP_NUM_THREADS is 2, expected 1 (a rank runs its own threads); set it to 1");
  }

  @Test
  void aSmallHeapIsRefused() {
    refused(
        yarn().set("spark.executor.memory", "300m"),
        2,
        "spark.executor.memory is 300 MiB, expected at least 500 MiB for one rank; raise it");
  }

  @Test
  void aWorkerSmallerThanItsExecutorIsRefused() {
    refused(
        localCluster().set("spark.executor.memory", "2g"),
        2,
        "--master local-cluster[2,1,1024] gives a worker 1024 MiB, expected at least spark.executor.memory=2048 MiB;"
            + " raise its third number");
  }

  @Test
  void javaCppsDefaultLimitsAreRefusedWhenTheyAreTooSmall() {
    refused(
        yarn().remove("spark.executor.extraJavaOptions"),
        2,
        "JavaCPP's maxbytes is 1024 MiB, expected at least 2000 MiB for one rank; add"
            + " -Dorg.bytedeco.javacpp.maxbytes=2000m to spark.executor.extraJavaOptions");
    refused(
        yarn()
            .set(
                "spark.executor.extraJavaOptions",
                "-Dorg.bytedeco.javacpp.maxbytes=4g -Dorg.bytedeco.javacpp.maxphysicalbytes=2g"),
        2,
        "JavaCPP's maxphysicalbytes is 2048 MiB, expected at least 2500 MiB for one rank; add"
            + " -Dorg.bytedeco.javacpp.maxphysicalbytes=0 to spark.executor.extraJavaOptions");
  }

  @Test
  void sparksDefaultOverheadIsRefusedWhenContainersWouldDie() {
    refused(
        yarn().remove("spark.executor.memoryOverhead"),
        2,
        "spark.executor.memoryOverhead is 384 MiB (Spark's default), expected at least 2512 MiB for one rank; set it"
            + " to 2512m");
    // Two ranks in one process need the memory of both.
    refused(
        yarn()
            .set("spark.executor.cores", "2")
            .set("spark.executor.extraJavaOptions", "-Dorg.bytedeco.javacpp.maxbytes=0"),
        2,
        "spark.executor.memoryOverhead is 3072 MiB, expected at least 4512 MiB for 2 ranks in one process; set it to"
            + " 4512m");
  }

  @Test
  void aFullMachineIsRefused() {
    assertThatThrownBy(() -> Preflight.checkSettings(localCluster(), 2, NEED, 5000 * MIB))
        .isInstanceOf(PreflightException.class)
        .hasMessage(
            "this machine has 5000 MiB of free memory, expected at least 5200 MiB for 2 rank(s); lower --executors or"
                + " train.micro_batch_sequences");
    assertThat(MachineMemory.availableBytes()).isPositive();
    assertThatThrownBy(() -> Preflight.checkThisMachine(6000 * MIB, "take less", 5000 * MIB))
        .isInstanceOf(PreflightException.class)
        .hasMessage(
            "this machine has 5000 MiB of free memory, expected at least 6000 MiB for this process; take less");
  }

  @Test
  void anotherSparkIsRefused() {
    assertThatThrownBy(() -> Preflight.checkSparkVersion("3.5.1"))
        .isInstanceOf(PreflightException.class)
        .hasMessageStartingWith("Spark is version 3.5.1, expected 4.1.x");
  }

  @Test
  void theCipherThatLosesMessagesIsRefused() {
    refused(
        yarn().set("spark.network.crypto.cipher", "AES/GCM/NoPadding"),
        2,
        "spark.network.crypto.cipher is AES/GCM/NoPadding, which loses messages in Spark 4.1.0 (SPARK-56227); set it"
            + " to AES/CTR/NoPadding, or use spark.ssl.rpc.enabled");
  }

  @Test
  void anExecutorsOwnEnvironmentIsChecked() {
    RankContext context = new RankContext(1, 2, 0, "7", "host-b", 4);
    assertThatThrownBy(() -> RankPreflight.check(context, "4", true))
        .isInstanceOf(FatalRunException.class)
        .hasMessageStartingWith("OMP_NUM_THREADS is 4 in executor 7 on host-b, expected 1");
    assertThatThrownBy(() -> RankPreflight.check(context, "1", false))
        .isInstanceOf(FatalRunException.class)
        .hasMessageContaining("--add-modules=jdk.incubator.vector")
        .hasMessageContaining("spark.executor.extraJavaOptions");
  }

  @Test
  void defaultsReplaceNothingThatIsSet() {
    SparkConf conf =
        new SparkConf(false)
            .setMaster("yarn")
            .set("spark.barrier.sync.timeout", "7s")
            .set("spark.kryo.registrator", "org.example.Theirs")
            .set("spark.executor.extraJavaOptions", "-Xss4m -Dorg.bytedeco.javacpp.maxBytes=9g");
    ClusterDefaults.fillIn(conf, 2, NEED);
    assertThat(conf.get("spark.barrier.sync.timeout")).isEqualTo("7s");
    assertThat(conf.get("spark.kryo.registrator"))
        .isEqualTo("org.example.Theirs," + MoeKryoRegistrator.class.getName());
    assertThat(conf.get("spark.executor.extraJavaOptions"))
        .isEqualTo(
            "-Xss4m -Dorg.bytedeco.javacpp.maxBytes=9g -Dorg.bytedeco.javacpp.maxphysicalbytes=0"
                + " -XX:+UseSerialGC -Xmn128m");
    SparkConf theirs = new SparkConf(false).set("spark.executor.defaultJavaOptions", "-XX:+UseZGC");
    ClusterDefaults.fillIn(theirs, 2, NEED);
    assertThat(theirs.get("spark.executor.extraJavaOptions")).doesNotContain("GC", "-Xmn");
  }
}
