package io.sparkmoe.spark.cluster;

import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.CorruptFrameException;
import io.sparkmoe.parallel.Failure;
import io.sparkmoe.parallel.FatalRunException;
import io.sparkmoe.parallel.RankLateException;
import io.sparkmoe.parallel.RankLostException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;
import org.apache.spark.network.client.TransportClient;
import org.apache.spark.network.server.RpcHandler;

/**
 * A rank's way into an attempt: it listens, says HELLO to the driver, is told where the other ranks
 * listen, connects to the lower ones and is connected to by the higher ones. So each pair has one
 * channel and no barrier() is needed, which would cost a second.
 */
final class RankJoin extends FrameHandler {

  private record Welcome(Token attempt, Message.Address[] ranks) {}

  private record Greeting(TransportClient client, Token attempt, int rank) {}

  private final RunTicket ticket;
  private final RankContext context;
  private final SparkCommunicator communicator;
  private final SparkTransport transport;
  private final CompletableFuture<Welcome> welcome = new CompletableFuture<>();
  private final CountDownLatch connections;
  private final List<Greeting> early = new ArrayList<>();
  private Token attemptToken;

  private RankJoin(
      RunTicket ticket, RankContext context, Function<RpcHandler, SparkTransport> transports) {
    this.ticket = ticket;
    this.context = context;
    this.communicator =
        new SparkCommunicator(
            context.rank(),
            ticket.numRanks(),
            ticket.deadline(),
            ticket.host() + ":" + ticket.port(),
            (fatal, failure) -> giveUp());
    this.connections = new CountDownLatch(ticket.numRanks() - 1);
    this.transport = transports.apply(this);
    communicator.owns(transport);
  }

  /**
   * Joins and returns the rank's end, connected to all others.
   *
   * @param transports opens this end's transport over a handler
   * @throws RankLateException when the others are not there before the deadline
   * @throws RankLostException when the driver refuses, saying why, or another end went away
   */
  static SparkCommunicator join(
      RunTicket ticket, RankContext context, Function<RpcHandler, SparkTransport> transports)
      throws InterruptedException {
    RankJoin join = new RankJoin(ticket, context, transports);
    boolean joined = false;
    try {
      join.connect();
      joined = true;
      return join.communicator;
    } catch (RuntimeException e) {
      join.tellWhy(e);
      throw e;
    } finally {
      if (!joined) {
        join.communicator.close();
      }
    }
  }

  /** Before its welcome a rank has nobody to tell: the driver itself refused it, or is late. */
  private void tellWhy(RuntimeException e) {
    if (!welcome.isDone() || welcome.isCompletedExceptionally()) {
      return;
    }
    Failure failure = Failure.of(context.rank(), e);
    if (e instanceof FatalRunException) {
      communicator.abortRun(failure);
    } else {
      communicator.abort(failure);
    }
  }

  private void connect() throws InterruptedException {
    int rank = context.rank();
    int port = transport.listen(context.host(), 0);
    Message.Address here = new Message.Address(context.host(), port, context.executorId());
    TransportClient driver = transport.connect(ticket.host(), ticket.port());
    communicator.connected(Communicator.DRIVER, driver.getChannel());
    communicator
        .peer(Communicator.DRIVER)
        .tell(Message.hello(ticket.token(), context.attempt(), rank, here));

    Welcome welcomed = awaitWelcome();
    for (int other = 0; other < ticket.numRanks(); other++) {
      communicator.placed(other, welcomed.ranks[other]);
    }
    List<Greeting> greetings;
    synchronized (early) {
      attemptToken = welcomed.attempt;
      greetings = List.copyOf(early);
      early.clear();
    }
    greetings.forEach(this::answer);
    for (int lower = 0; lower < rank; lower++) {
      Message.Address there = welcomed.ranks[lower];
      TransportClient client = transport.connect(there.host(), there.port());
      communicator.connected(lower, client.getChannel());
      communicator.peer(lower).tell(Message.greeting(welcomed.attempt, rank));
    }
    awaitConnections();
  }

  private Welcome awaitWelcome() throws InterruptedException {
    // The driver may still be at work for the attempt before, as on its checkpoint; it needs up to
    // one deadline to find out who is late, and then says so.
    long deadline = ticket.deadline().toSeconds();
    long seconds = Math.max(deadline, ticket.driverWork().toSeconds()) + deadline + 1;
    try {
      return welcome.get(seconds, TimeUnit.SECONDS);
    } catch (TimeoutException e) {
      throw new RankLateException(
          communicator.describe(Communicator.DRIVER)
              + " is late: it did not let rank "
              + context.rank()
              + " join attempt "
              + context.attempt()
              + " within "
              + seconds
              + " s; see the driver's log");
    } catch (ExecutionException e) {
      throw lost();
    }
  }

  private void awaitConnections() throws InterruptedException {
    if (!connections.await(ticket.deadline().toNanos(), TimeUnit.NANOSECONDS)) {
      for (int other = 0; other < ticket.numRanks(); other++) {
        if (other != context.rank() && communicator.peer(other) == null) {
          throw new RankLateException(
              communicator.describe(other)
                  + " is late: it did not connect to rank "
                  + context.rank()
                  + " within "
                  + ticket.deadline().toSeconds()
                  + " s; can the executors reach each other's ports?");
        }
      }
      throw new RankLateException(
          "a lower rank did not answer rank "
              + context.rank()
              + " within "
              + ticket.deadline().toSeconds()
              + " s");
    }
    if (communicator.failure() != null) {
      throw lost();
    }
  }

  private RankLostException lost() {
    Failure failure = communicator.failure();
    return new RankLostException(communicator.describe(failure), failure);
  }

  @Override
  void greet(TransportClient client, Peer peer, byte type, ByteBuffer message) {
    switch (type) {
      case Message.WELCOME -> {
        requireDriver(peer);
        Token attempt = Token.readFrom(message);
        Message.Address[] ranks = new Message.Address[ticket.numRanks()];
        for (int i = 0; i < ranks.length; i++) {
          ranks[i] = Message.Address.readFrom(message);
        }
        welcome.complete(new Welcome(attempt, ranks));
      }
      case Message.REFUSED -> {
        if (peer == null) {
          throw new CorruptFrameException("a refusal came from an end that nobody asked");
        }
        peer.misbehaved("it refused rank " + context.rank() + ": " + Message.getString(message));
      }
      case Message.GREETING -> {
        Message.checkMagic(message);
        greeted(new Greeting(client, Token.readFrom(message), message.getInt()));
      }
      case Message.READY -> {
        if (peer == null) {
          throw new CorruptFrameException("an answer came from an end that nobody asked");
        }
        connections.countDown();
      }
      default ->
          throw new CorruptFrameException(
              "a connection must open with a greeting, got message type " + type);
    }
  }

  private void requireDriver(Peer peer) {
    if (peer == null || peer != communicator.peer(Communicator.DRIVER)) {
      throw new CorruptFrameException("a welcome came from an end that is not the driver");
    }
  }

  /**
   * A higher rank may hear of us before we hear of it: its greeting then waits for the driver's
   * welcome.
   */
  private void greeted(Greeting greeting) {
    synchronized (early) {
      if (attemptToken == null) {
        if (early.size() < ticket.numRanks()) {
          early.add(greeting);
        } else {
          refuse(greeting.client, "too many connections before the driver's welcome");
        }
        return;
      }
    }
    answer(greeting);
  }

  private void answer(Greeting greeting) {
    int other = greeting.rank;
    if (!transport.isProtected(greeting.client.getChannel())) {
      refuse(
          greeting.client, "the connection is not encrypted as spark.network.crypto.enabled asks");
    } else if (!attemptToken.matches(greeting.attempt)) {
      refuse(
          greeting.client,
          "its token is not of this attempt (" + context.attempt() + ") of this run");
    } else if (other <= context.rank()
        || other >= ticket.numRanks()
        || communicator.peer(other) != null) {
      refuse(
          greeting.client,
          "rank " + other + " may not connect to rank " + context.rank() + " (again)");
    } else {
      communicator.connected(other, greeting.client.getChannel());
      communicator.peer(other).tell(Message.bare(Message.READY));
      connections.countDown();
    }
  }

  /** Ends the waits of this join; {@link SparkCommunicator#failure} says why. */
  private void giveUp() {
    welcome.completeExceptionally(lost());
    while (connections.getCount() > 0) {
      connections.countDown();
    }
  }

  @Override
  void strangerLeft(TransportClient client) {
    synchronized (early) {
      early.removeIf(greeting -> greeting.client.getChannel() == client.getChannel());
    }
  }
}
