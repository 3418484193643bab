package io.sparkmoe.spark.cluster;

import io.netty.channel.Channel;
import io.sparkmoe.parallel.FatalRunException;
import io.sparkmoe.parallel.RankLostException;
import java.io.IOException;
import java.util.List;
import java.util.Locale;
import org.apache.spark.SecurityManager;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkEnv;
import org.apache.spark.network.TransportContext;
import org.apache.spark.network.client.TransportClient;
import org.apache.spark.network.client.TransportClientBootstrap;
import org.apache.spark.network.client.TransportClientFactory;
import org.apache.spark.network.crypto.AuthClientBootstrap;
import org.apache.spark.network.crypto.AuthServerBootstrap;
import org.apache.spark.network.netty.SparkTransportConf;
import org.apache.spark.network.server.RpcHandler;
import org.apache.spark.network.server.TransportServer;
import org.apache.spark.network.server.TransportServerBootstrap;
import org.apache.spark.network.util.TransportConf;
import scala.Option;

/**
 * One process's way into Spark's network layer under the module name {@code moe}: settings are
 * {@code spark.moe.io.*} with the meaning of {@code spark.rpc.io.*}, and authentication, AES, SASL
 * encryption and TLS are those of the application ({@code spark.authenticate}, {@code
 * spark.network.crypto.enabled}, {@code spark.ssl.rpc.enabled}).
 *
 * <p>Idle channels are never closed: a step may take longer than any {@code
 * spark.moe.io.connectionTimeout}, and there silence is work. What that setting still bounds is
 * connecting and authenticating. A peer that is gone shows as a closed channel at once, or, when
 * its whole machine vanished, by the deadline of whoever waits for it.
 */
final class SparkTransport implements AutoCloseable {

  private static final String MODULE = "moe";

  private final TransportContext context;
  private final TransportConf conf;
  private final SecurityManager security;
  private TransportServer server;
  private TransportClientFactory clients;

  /**
   * Opens the transport of one end.
   *
   * @param sparkConf the application's settings
   * @param security the application's security manager
   * @param role "driver" or "executor", as Spark's own transport settings distinguish them
   * @param handler receives what comes over any channel of this end
   */
  SparkTransport(SparkConf sparkConf, SecurityManager security, String role, RpcHandler handler) {
    SparkConf settings = sparkConf.clone();
    // A vanished machine sends no FIN; keep-alive finds it while a rank computes and nobody waits
    // yet.
    settings.setIfMissing("spark." + MODULE + ".io.enableTcpKeepAlive", "true");
    // One event loop thread moves 0.7-0.9 GB/s and one per end leaves the cores to the model.
    settings.setIfMissing("spark." + MODULE + ".io.serverThreads", "1");
    settings.setIfMissing("spark." + MODULE + ".io.clientThreads", "1");
    this.security = security;
    this.conf =
        SparkTransportConf.fromSparkConf(
            settings, MODULE, 1, Option.apply(role), Option.apply(security.getRpcSSLOptions()));
    boolean closeIdleConnections = false;
    this.context = new TransportContext(conf, handler, closeIdleConnections, false);
  }

  /** The transport of the running driver or executor. */
  static SparkTransport ofThisProcess(RpcHandler handler) {
    SparkEnv env = SparkEnv.get();
    String role = "driver".equals(env.executorId()) ? "driver" : "executor";
    return new SparkTransport(env.conf(), env.securityManager(), role, handler);
  }

  /**
   * Starts to listen.
   *
   * @param port 0 for any free one
   * @return the port
   */
  int listen(String host, int port) {
    List<TransportServerBootstrap> bootstraps =
        security.isAuthenticationEnabled()
            ? List.of(new AuthServerBootstrap(conf, security))
            : List.of();
    server = context.createServer(host, port, bootstraps);
    return server.getPort();
  }

  /**
   * Connects and, where the application says so, authenticates and encrypts; waits until that is
   * done.
   */
  TransportClient connect(String host, int port) throws InterruptedException {
    if (clients == null) {
      List<TransportClientBootstrap> bootstraps =
          security.isAuthenticationEnabled()
              ? List.of(new AuthClientBootstrap(conf, security.getSaslUser(), security))
              : List.of();
      clients = context.createClientFactory(bootstraps);
    }
    TransportClient client;
    try {
      client = clients.createUnmanagedClient(host, port);
    } catch (IOException | RuntimeException e) {
      throw new RankLostException(
          "cannot connect to " + host + ":" + port + ": " + e.getMessage(), e);
    }
    if (!isProtected(client.getChannel())) {
      client.close();
      throw new FatalRunException(
          "the connection to "
              + host
              + ":"
              + port
              + " is not encrypted although spark.network.crypto.enabled,"
              + " spark.authenticate.enableSaslEncryption or spark.ssl.rpc.enabled is on; give"
              + " driver and executors the"
              + " same settings");
    }
    return client;
  }

  /** Whether the channel is encrypted, where Spark's own traffic is. */
  boolean isProtected(Channel channel) {
    if (!security.isEncryptionEnabled() && !security.isSslRpcEnabled()) {
      return true;
    }
    // Spark's cipher, SASL and TLS handlers are the only ones with these words in their names.
    return channel.pipeline().names().stream()
        .map(name -> name.toLowerCase(Locale.ROOT))
        .anyMatch(name -> name.contains("encryption") || name.contains("ssl"));
  }

  /** Stops to listen and lets the event loop threads end on their own. */
  @Override
  public void close() {
    if (clients != null) {
      clients.close();
    }
    if (server != null) {
      server.close();
    }
    context.close();
  }
}
