package io.sparkmoe.spark.cluster;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;

/**
 * A Spark context with real executor JVMs ({@code local-cluster}), started from the tests' own
 * class path: small memory, no UI, random ports, folders of its own. Surefire sets SPARK_HOME and
 * SPARK_SCALA_VERSION, which Spark reads from the environment only; the home needs to hold no jars,
 * because executors get this JVM's class path.
 */
public final class LocalClusterSession implements AutoCloseable {

  private final Path folder;
  private final JavaSparkContext sc;

  /**
   * @param numExecutors executor processes, one core each
   * @param executorMebibytes heap of each
   * @param settings further Spark settings
   */
  public LocalClusterSession(int numExecutors, int executorMebibytes, Map<String, String> settings)
      throws IOException {
    prepareSparkHome();
    Path parent = Files.createDirectories(Path.of(System.getProperty("java.io.tmpdir")));
    folder = Files.createTempDirectory(parent, "local-cluster-");
    SparkConf conf =
        new SparkConf(false)
            .setAppName("test")
            .setMaster("local-cluster[" + numExecutors + ",1," + executorMebibytes + "]")
            .set("spark.executor.memory", executorMebibytes + "m")
            .set("spark.executor.extraClassPath", absoluteClassPath())
            .set("spark.local.dir", folder.toString())
            .set("spark.driver.host", "localhost")
            .set("spark.driver.bindAddress", "localhost")
            .set("spark.ui.enabled", "false")
            .set("spark.worker.ui.port", "0")
            .set("spark.master.ui.port", "0")
            .set("spark.sql.shuffle.partitions", Integer.toString(numExecutors));
    settings.forEach(conf::set);
    ClusterDefaults.fillIn(conf, numExecutors, new MemoryNeed(0, 64L << 20, 0));
    sc = new JavaSparkContext(conf);
  }

  public JavaSparkContext sc() {
    return sc;
  }

  @Override
  public void close() throws IOException {
    sc.close();
    try (Stream<Path> files = Files.walk(folder)) {
      files.sorted(Comparator.reverseOrder()).map(Path::toFile).forEach(File::delete);
    }
  }

  private static void prepareSparkHome() throws IOException {
    String home = System.getenv("SPARK_HOME");
    if (home == null) {
      throw new IllegalStateException(
          "SPARK_HOME is not set, expected an empty folder as surefire sets it: run this test with Maven");
    }
    Files.createDirectories(Path.of(home, "jars"));
    Path release = Path.of(home, "RELEASE");
    if (!Files.exists(release)) {
      Files.createFile(release);
    }
  }

  /** An executor runs in a folder of its own, where relative entries would mean something else. */
  private static String absoluteClassPath() {
    return Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
        .map(entry -> Path.of(entry).toAbsolutePath().toString())
        .collect(Collectors.joining(File.pathSeparator));
  }
}
