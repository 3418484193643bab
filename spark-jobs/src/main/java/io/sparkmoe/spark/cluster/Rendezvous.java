package io.sparkmoe.spark.cluster;

import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.CorruptFrameException;
import io.sparkmoe.parallel.Failure;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.spark.network.client.TransportClient;
import org.apache.spark.network.server.RpcHandler;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Where the ranks of a run meet, on the driver: one listening port for all attempts. Ranks of an
 * attempt say HELLO; when all are there and the driver has finished with the attempt before, they
 * are told each other's addresses and a fresh token. A HELLO of a later attempt ends the earlier
 * one; a HELLO of an earlier one is refused.
 */
final class Rendezvous extends FrameHandler implements AutoCloseable {

  private static final Logger LOG = LoggerFactory.getLogger(Rendezvous.class);

  /** Hears that a rank has failed; fatal when no other attempt could succeed. */
  interface FailureListener {
    void failed(boolean fatal, String reason);
  }

  /** An attempt whose ranks are all there: its number, from 0, and the driver's end. */
  record Attempt(int number, SparkCommunicator driverEnd) {}

  private record Arrival(TransportClient client, Message.Address address) {}

  private final int numRanks;
  private final Duration deadline;
  private final FailureListener failureListener;
  private final SparkTransport transport;
  private final RunTicket ticket;

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private final Arrival[] arrivals;
  private int attempt = -1;
  private boolean attemptOver = true;
  private long firstArrivalNanos;
  private final List<String> failures = new ArrayList<>();
  private int failedAttempt = -1;
  private SparkCommunicator current;
  private String ended;

  /**
   * Starts to listen.
   *
   * @param numRanks ranks of the run
   * @param deadline longest wait for a rank after the first one has come, and of each end for a
   *     frame
   * @param driverWork longest that a rank waits for a driver that is still at work for an earlier
   *     attempt
   * @param host name or address under which the executors reach the driver
   * @param bindHost address to listen at
   * @param port port to listen at, 0 for any
   * @param transports opens the driver's transport over a handler
   */
  Rendezvous(
      int numRanks,
      Duration deadline,
      Duration driverWork,
      String host,
      String bindHost,
      int port,
      Function<RpcHandler, SparkTransport> transports,
      FailureListener failureListener) {
    this.numRanks = numRanks;
    this.deadline = deadline;
    this.failureListener = failureListener;
    this.arrivals = new Arrival[numRanks];
    this.transport = transports.apply(this);
    int listening;
    try {
      listening = transport.listen(bindHost, port);
    } catch (RuntimeException e) {
      transport.close();
      throw new PreflightException(
          "the driver cannot listen at "
              + bindHost
              + ":"
              + port
              + ": "
              + e.getMessage()
              + "; change spark.moe.driver.port or spark.driver.bindAddress");
    }
    this.ticket = new RunTicket(host, listening, Token.random(), numRanks, deadline, driverWork);
  }

  /** What a rank needs to join. */
  RunTicket ticket() {
    return ticket;
  }

  /** Attempts that any rank has begun. */
  int numAttempts() {
    lock.lock();
    try {
      return attempt + 1;
    } finally {
      lock.unlock();
    }
  }

  /** Whether a rank of that attempt has failed. */
  boolean hasFailed(int number) {
    lock.lock();
    try {
      return failedAttempt >= number;
    } finally {
      lock.unlock();
    }
  }

  /** Why each failed attempt failed, in their order. */
  List<String> failures() {
    lock.lock();
    try {
      return List.copyOf(failures);
    } finally {
      lock.unlock();
    }
  }

  /**
   * Waits until all ranks of a new attempt are there and connects the driver's end to them. The
   * communicator returned before, if any, is closed first.
   *
   * @return the attempt, or null when the run has ended
   */
  Attempt awaitAttempt() throws InterruptedException {
    while (awaitArrivals()) {
      // Outside the lock: closing waits for the event loop, which may be about to take the lock.
      closeCurrent();
      lock.lock();
      try {
        if (allArrived() && ended == null) {
          attemptOver = true;
          current = welcome(attempt);
          return new Attempt(attempt, current);
        }
      } finally {
        lock.unlock();
      }
    }
    return null;
  }

  /** Waits until all ranks of an attempt are there (true) or the run has ended (false). */
  private boolean awaitArrivals() throws InterruptedException {
    lock.lock();
    try {
      while (ended == null && !allArrived()) {
        if (attemptOver) {
          changed.await();
        } else {
          long left = firstArrivalNanos + deadline.toNanos() - System.nanoTime();
          if (left <= 0) {
            giveUpAttempt(
                missingRanks()
                    + " did not join within "
                    + deadline.toSeconds()
                    + " s of the first");
          } else {
            changed.awaitNanos(left);
          }
        }
      }
      return ended == null;
    } finally {
      lock.unlock();
    }
  }

  private boolean allArrived() {
    return Arrays.stream(arrivals).allMatch(Objects::nonNull);
  }

  private void closeCurrent() {
    SparkCommunicator open;
    lock.lock();
    try {
      open = current;
      current = null;
    } finally {
      lock.unlock();
    }
    if (open != null) {
      open.close();
    }
  }

  private SparkCommunicator welcome(int number) {
    SparkCommunicator[] end = new SparkCommunicator[1];
    end[0] =
        new SparkCommunicator(
            Communicator.DRIVER,
            numRanks,
            deadline,
            ticket.host() + ":" + ticket.port(),
            (fatal, failure) -> {
              attemptFailed(number, end[0].describe(failure));
              failureListener.failed(fatal, failure.reason());
            });
    Message.Address[] addresses = new Message.Address[numRanks];
    for (int rank = 0; rank < numRanks; rank++) {
      addresses[rank] = arrivals[rank].address;
      end[0].placed(rank, addresses[rank]);
    }
    warnOfSharedExecutors(addresses);
    ByteBuffer welcome = Message.welcome(Token.random(), addresses);
    for (int rank = 0; rank < numRanks; rank++) {
      end[0].connected(rank, arrivals[rank].client.getChannel());
      end[0].peer(rank).tell(welcome.duplicate());
    }
    Arrays.fill(arrivals, null);
    LOG.info(
        "Attempt {} has {} ranks: {}",
        number,
        numRanks,
        IntStream.range(0, numRanks).mapToObj(end[0]::describe).collect(Collectors.joining(", ")));
    return end[0];
  }

  private static void warnOfSharedExecutors(Message.Address[] addresses) {
    long executors = Arrays.stream(addresses).map(Message.Address::executorId).distinct().count();
    if (executors < addresses.length) {
      LOG.warn(
          "{} ranks share {} executors and compete for memory; set spark.task.cpus to"
              + " spark.executor.cores",
          addresses.length,
          executors);
    }
  }

  /**
   * An end of the attempt has failed; the first reason told in an attempt is the one remembered.
   */
  void attemptFailed(int number, String reason) {
    lock.lock();
    try {
      if (failedAttempt < number) {
        failedAttempt = number;
        failures.add(reason);
        LOG.warn("Attempt {} failed: {}", number, reason);
      }
    } finally {
      lock.unlock();
    }
  }

  /**
   * Ends the run: ranks that come later are refused with the reason, {@link #awaitAttempt} returns
   * null.
   */
  void end(String reason) {
    lock.lock();
    try {
      if (ended == null) {
        ended = reason;
      }
      refuseArrivals(reason);
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  @Override
  void greet(TransportClient client, Peer peer, byte type, ByteBuffer message) {
    if (type != Message.HELLO || peer != null) {
      throw new CorruptFrameException(
          "a rank must open its connection with one hello, got message type " + type);
    }
    Message.checkMagic(message);
    Token run = Token.readFrom(message);
    int helloAttempt = message.getInt();
    int rank = message.getInt();
    Arrival arrival = new Arrival(client, Message.Address.readFrom(message));
    if (!transport.isProtected(client.getChannel())) {
      refuse(client, "the connection is not encrypted as spark.network.crypto.enabled asks");
    } else if (!ticket.token().matches(run)) {
      refuse(client, "its token is not of this run");
    } else if (rank < 0 || rank >= numRanks) {
      refuse(client, "rank must be in [0, " + (numRanks - 1) + "], got " + rank);
    } else {
      arrive(arrival, helloAttempt, rank);
    }
  }

  private void arrive(Arrival arrival, int helloAttempt, int rank) {
    lock.lock();
    try {
      if (ended != null) {
        refuse(arrival.client, ended);
        failureListener.failed(false, "rank " + rank + " began attempt " + helloAttempt);
        return;
      }
      if (helloAttempt > attempt) {
        beginAttempt(helloAttempt);
      }
      if (helloAttempt < attempt) {
        refuse(
            arrival.client, "attempt " + helloAttempt + " is over, attempt " + attempt + " runs");
      } else if (attemptOver || arrivals[rank] != null) {
        refuse(arrival.client, "rank " + rank + " came late or twice to attempt " + attempt);
      } else {
        arrivals[rank] = arrival;
        changed.signalAll();
      }
    } finally {
      lock.unlock();
    }
  }

  private void beginAttempt(int newAttempt) {
    String reason = "attempt " + attempt + " is over, attempt " + newAttempt + " begins";
    if (!attemptOver) {
      refuseArrivals(reason);
    }
    if (current != null) {
      Failure over = new Failure(Communicator.DRIVER, reason);
      current.abort(over);
      // Wakes the driver's own task, should it still wait for a rank of that attempt.
      current.failed(false, over);
    }
    attempt = newAttempt;
    attemptOver = false;
    firstArrivalNanos = System.nanoTime();
  }

  @Override
  void strangerLeft(TransportClient client) {
    lock.lock();
    try {
      for (int rank = 0; rank < numRanks; rank++) {
        if (!attemptOver
            && arrivals[rank] != null
            && arrivals[rank].client.getChannel() == client.getChannel()) {
          Message.Address address = arrivals[rank].address;
          arrivals[rank] = null;
          giveUpAttempt(
              "rank "
                  + rank
                  + " (executor "
                  + address.executorId()
                  + " on "
                  + address.host()
                  + ") went away while the others joined");
        }
      }
    } finally {
      lock.unlock();
    }
  }

  private void giveUpAttempt(String reason) {
    attemptFailed(attempt, reason);
    attemptOver = true;
    refuseArrivals(reason);
    changed.signalAll();
  }

  private void refuseArrivals(String reason) {
    for (int rank = 0; rank < numRanks; rank++) {
      if (arrivals[rank] != null) {
        refuse(arrivals[rank].client, reason);
        arrivals[rank] = null;
      }
    }
  }

  private String missingRanks() {
    return IntStream.range(0, numRanks)
        .filter(rank -> arrivals[rank] == null)
        .mapToObj(rank -> "rank " + rank)
        .collect(Collectors.joining(" and "));
  }

  /** Ends the run and stops to listen. */
  @Override
  public void close() {
    end("the run has ended");
    closeCurrent();
    transport.close();
  }
}
