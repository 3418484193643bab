package io.sparkmoe.spark.cluster;

import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.CommunicatorContract;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import org.apache.spark.SecurityManager;
import org.apache.spark.SparkConf;
import org.apache.spark.network.server.RpcHandler;
import scala.Option;

/** Ends of one run in this process, each with a transport of its own, without a Spark context. */
final class InProcessEnds implements CommunicatorContract.Ends {

  static final String HOST = "localhost";

  /** Joining takes longer than the deadlines that the contract waits out. */
  private static final Duration JOIN = Duration.ofSeconds(20);

  /** All ranks must join at once, however few threads the common pool has. */
  private static final Executor THREAD_EACH = join -> new Thread(join, "join").start();

  final BlockingQueue<String> fatal = new LinkedBlockingQueue<>();
  private final Rendezvous rendezvous;
  private final Communicator driver;
  private final List<Communicator> ranks = new ArrayList<>();

  InProcessEnds(SparkConf conf, int numRanks, Duration deadline) throws Exception {
    rendezvous =
        rendezvous(
            conf,
            numRanks,
            deadline,
            (isFatal, reason) -> {
              if (isFatal) {
                fatal.add(reason);
              }
            });
    List<CompletableFuture<SparkCommunicator>> joins = new ArrayList<>();
    RunTicket ticket = rendezvous.ticket();
    for (int rank = 0; rank < numRanks; rank++) {
      int joining = rank;
      joins.add(CompletableFuture.supplyAsync(() -> join(conf, ticket, joining, 0), THREAD_EACH));
    }
    driver = rendezvous.awaitAttempt().driverEnd();
    for (CompletableFuture<SparkCommunicator> join : joins) {
      ranks.add(join.get(JOIN.toSeconds(), TimeUnit.SECONDS));
    }
  }

  static Function<RpcHandler, SparkTransport> transports(SparkConf conf, String role) {
    SecurityManager security =
        new SecurityManager(
            conf,
            Option.empty(),
            org.apache.spark.internal.config.package$.MODULE$.AUTH_SECRET_FILE());
    return handler -> new SparkTransport(conf, security, role, handler);
  }

  static Rendezvous rendezvous(
      SparkConf conf, int numRanks, Duration deadline, Rendezvous.FailureListener failureListener) {
    return new Rendezvous(
        numRanks, deadline, deadline, HOST, HOST, 0, transports(conf, "driver"), failureListener);
  }

  static SparkCommunicator join(SparkConf conf, RunTicket ticket, int rank, int attempt) {
    RankContext context =
        new RankContext(rank, ticket.numRanks(), attempt, "test-" + rank, HOST, 1);
    try {
      return RankJoin.join(ticket, context, transports(conf, "executor"));
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  @Override
  public Communicator driver() {
    return driver;
  }

  @Override
  public Communicator rank(int rank) {
    return ranks.get(rank);
  }

  @Override
  public void close() {
    ranks.forEach(Communicator::close);
    rendezvous.close();
  }
}
