package io.sparkmoe.spark.cluster;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.time.Duration;
import org.apache.spark.SparkConf;

/**
 * Check that {@code --master} names something that can be reached, before Spark starts: Spark
 * itself tries a standalone master for a minute and then says only that its context has stopped.
 */
public final class MasterCheck {

  private static final String STANDALONE = "spark://";
  private static final Duration CONNECT = Duration.ofSeconds(5);

  private MasterCheck() {}

  /**
   * Checks the spelling of the master, and of a standalone one that any of its addresses answers.
   *
   * @throws PreflightException naming the master
   */
  public static void check(SparkConf conf) {
    String master = conf.get("spark.master", "local[*]");
    if (!ClusterShape.isMaster(master)) {
      throw new PreflightException(
          "--master is "
              + master
              + ", expected local[N], local-cluster[N,CORES,MB], spark://HOST:PORT, yarn or"
              + " k8s://URL; correct it");
    }
    if (!master.startsWith(STANDALONE)) {
      return;
    }
    String reason = "";
    for (String address : master.substring(STANDALONE.length()).split(",")) {
      try {
        connect(address);
        return;
      } catch (IOException | IllegalArgumentException e) {
        reason = String.valueOf(e.getMessage());
      }
    }
    throw new PreflightException(
        "no Spark master answers at "
            + master
            + " ("
            + reason
            + "), expected a running one; start it or correct --master");
  }

  private static void connect(String address) throws IOException {
    URI uri = URI.create(STANDALONE + address);
    if (uri.getHost() == null || uri.getPort() < 0) {
      throw new IllegalArgumentException(address + " is not HOST:PORT");
    }
    InetSocketAddress master = new InetSocketAddress(uri.getHost(), uri.getPort());
    if (master.isUnresolved()) {
      throw new IOException("host " + uri.getHost() + " is unknown");
    }
    try (Socket socket = new Socket()) {
      socket.connect(master, (int) CONNECT.toMillis());
    }
  }
}
