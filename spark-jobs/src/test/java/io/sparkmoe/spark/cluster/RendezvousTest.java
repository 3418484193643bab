package io.sparkmoe.spark.cluster;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.netty.buffer.ByteBuf;
import io.netty.channel.Channel;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.Failure;
import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.FrameKind;
import io.sparkmoe.parallel.RankLateException;
import io.sparkmoe.parallel.RankLostException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.spark.SparkConf;
import org.apache.spark.network.client.TransportClient;
import org.apache.spark.network.server.NoOpRpcHandler;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Who may join a run, and what happens to those who leave it, without a Spark context. */
@Timeout(60)
class RendezvousTest {

  private static final Duration LONG = Duration.ofSeconds(20);
  private static final Duration SHORT = Duration.ofSeconds(1);

  private final SparkConf plain = new SparkConf(false);

  private static FrameKey gradients(int part) {
    return new FrameKey(FrameKind.GRADIENTS, 2, part, 0);
  }

  private Rendezvous rendezvous(int numRanks, Duration deadline) {
    return InProcessEnds.rendezvous(plain, numRanks, deadline, (fatal, reason) -> {});
  }

  private CompletableFuture<SparkCommunicator> joining(RunTicket ticket, int rank, int attempt) {
    CompletableFuture<SparkCommunicator> joined = new CompletableFuture<>();
    new Thread(
            () -> {
              try {
                joined.complete(InProcessEnds.join(plain, ticket, rank, attempt));
              } catch (RuntimeException e) {
                joined.completeExceptionally(e);
              }
            },
            "join")
        .start();
    return joined;
  }

  private static SparkCommunicator get(CompletableFuture<SparkCommunicator> join)
      throws InterruptedException, ExecutionException, java.util.concurrent.TimeoutException {
    return join.get(20, TimeUnit.SECONDS);
  }

  /** A connection to the run's port that has said nothing yet. */
  private TransportClient stranger(RunTicket ticket, SparkConf conf) throws InterruptedException {
    return InProcessEnds.transports(conf, "executor")
        .apply(new NoOpRpcHandler())
        .connect(ticket.host(), ticket.port());
  }

  @Test
  void aTokenOfAnotherRunIsRefused() {
    try (Rendezvous run = rendezvous(1, LONG);
        Rendezvous other = rendezvous(1, LONG)) {
      RunTicket own = run.ticket();
      RunTicket wrong =
          new RunTicket(own.host(), own.port(), other.ticket().token(), 1, LONG, LONG);
      assertThatThrownBy(() -> InProcessEnds.join(plain, wrong, 0, 0))
          .isInstanceOf(RankLostException.class)
          .hasMessageContaining("the driver (localhost:" + own.port() + ")")
          .hasMessageContaining("it refused rank 0: its token is not of this run");
      assertThat(run.numAttempts()).isZero();
    }
  }

  @Test
  void aStaleAttemptIsRefused() throws Exception {
    try (Rendezvous run = rendezvous(1, LONG)) {
      CompletableFuture<SparkCommunicator> second = joining(run.ticket(), 0, 1);
      try (SparkCommunicator driver = run.awaitAttempt().driverEnd();
          SparkCommunicator rank = get(second)) {
        assertThatThrownBy(() -> InProcessEnds.join(plain, run.ticket(), 0, 0))
            .isInstanceOf(RankLostException.class)
            .hasMessageContaining("attempt 0 is over, attempt 1 runs");
        rank.send(Communicator.DRIVER, gradients(0), ByteBuffer.allocate(3));
        assertThat(driver.receive(0, gradients(0)).remaining()).isEqualTo(3);
      }
    }
  }

  @Test
  void aLaterAttemptEndsTheEarlierOne() throws Exception {
    try (Rendezvous run = rendezvous(1, LONG)) {
      CompletableFuture<SparkCommunicator> first = joining(run.ticket(), 0, 0);
      SparkCommunicator driver = run.awaitAttempt().driverEnd();
      CompletableFuture<ByteBuffer> waiting =
          CompletableFuture.supplyAsync(() -> driver.receive(0, gradients(0)));
      try (SparkCommunicator stale = get(first)) {
        CompletableFuture<SparkCommunicator> second = joining(run.ticket(), 0, 1);
        assertThatThrownBy(() -> waiting.get(10, TimeUnit.SECONDS))
            .hasCauseInstanceOf(RankLostException.class)
            .hasMessageContaining("attempt 0 is over, attempt 1 begins");
        assertThatThrownBy(() -> stale.receive(Communicator.DRIVER, gradients(0)))
            .isInstanceOf(RankLostException.class)
            .hasMessageContaining("attempt 0 is over, attempt 1 begins");
        assertThat(run.awaitAttempt().driverEnd().failure()).isNull();
        get(second).close();
      }
    }
  }

  @Test
  void anAttemptWaitsWhileTheDriverIsAtWorkForTheOneBefore() throws Exception {
    try (Rendezvous run = rendezvous(1, LONG)) {
      CompletableFuture<SparkCommunicator> first = joining(run.ticket(), 0, 0);
      run.awaitAttempt();
      get(first);
      RunTicket all = run.ticket();
      Duration none = Duration.ZERO;
      RunTicket patient =
          new RunTicket(all.host(), all.port(), all.token(), 1, none, all.driverWork());
      CompletableFuture<SparkCommunicator> second = joining(patient, 0, 1);
      // As in a commit, the driver's thread does not ask who has come.
      assertThatThrownBy(() -> second.get(1500, TimeUnit.MILLISECONDS))
          .isInstanceOf(TimeoutException.class);
      run.awaitAttempt();
      get(second).close();
    }
  }

  @Test
  void aRankWaitsNoLongerThanTheDriverMayWork() throws Exception {
    try (Rendezvous run = rendezvous(1, LONG)) {
      RunTicket all = run.ticket();
      RunTicket impatient =
          new RunTicket(all.host(), all.port(), all.token(), 1, Duration.ZERO, Duration.ZERO);
      assertThatThrownBy(() -> InProcessEnds.join(plain, impatient, 0, 0))
          .isInstanceOf(RankLateException.class)
          .hasMessageContaining("is late: it did not let rank 0 join attempt 0 within 1 s");
    }
  }

  @Test
  void aRankThatDoesNotJoinIsNamed() throws Exception {
    try (Rendezvous run = rendezvous(3, SHORT)) {
      CompletableFuture<SparkCommunicator> first = joining(run.ticket(), 1, 0);
      CompletableFuture<Rendezvous.Attempt> attempt =
          CompletableFuture.supplyAsync(
              () -> {
                try {
                  return run.awaitAttempt();
                } catch (InterruptedException e) {
                  throw new IllegalStateException(e);
                }
              });
      assertThatThrownBy(() -> get(first))
          .hasCauseInstanceOf(RankLostException.class)
          .hasMessageContaining("rank 0 and rank 2 did not join within 1 s of the first");
      assertThat(run.failures())
          .containsExactly("rank 0 and rank 2 did not join within 1 s of the first");
      run.end("test over");
      assertThat(attempt.get(10, TimeUnit.SECONDS)).isNull();
    }
  }

  @Test
  void aRankThatCannotReachAnotherSaysSo() throws Exception {
    try (Rendezvous run = rendezvous(2, LONG)) {
      // Rank 0 says that it listens where nobody does.
      Message.Address nowhere = new Message.Address(InProcessEnds.HOST, 1, "test-0");
      Peer.write(
          stranger(run.ticket(), plain).getChannel(),
          Message.hello(run.ticket().token(), 0, 0, nowhere));
      CompletableFuture<SparkCommunicator> second = joining(run.ticket(), 1, 0);
      try (SparkCommunicator driver = run.awaitAttempt().driverEnd()) {
        assertThatThrownBy(() -> get(second))
            .hasCauseInstanceOf(RankLostException.class)
            .hasMessageContaining("cannot connect to localhost:1");
        assertThatThrownBy(() -> driver.receive(0, gradients(0)))
            .isInstanceOf(RankLostException.class)
            .hasMessageContainingAll("rank 1", "cannot connect to localhost:1");
      }
    }
  }

  @Test
  void aClosedChannelNamesItsRankToAllWhoWait() throws Exception {
    try (InProcessEnds ends = new InProcessEnds(plain, 3, LONG)) {
      CompletableFuture<ByteBuffer> atRank =
          CompletableFuture.supplyAsync(() -> ends.rank(0).receive(1, gradients(0)));
      CompletableFuture<ByteBuffer> atDriver =
          CompletableFuture.supplyAsync(() -> ends.driver().receive(2, gradients(0)));
      SparkCommunicator dying = (SparkCommunicator) ends.rank(1);
      dying.peer(Communicator.DRIVER).close();
      dying.peer(0).close();
      for (CompletableFuture<ByteBuffer> wait : List.of(atRank, atDriver)) {
        assertThatThrownBy(() -> wait.get(10, TimeUnit.SECONDS))
            .hasCauseInstanceOf(RankLostException.class)
            .hasMessageContaining(
                "rank 1 (executor test-1 on localhost) failed: its connection closed");
      }
      assertThatThrownBy(() -> ends.rank(0).send(1, gradients(1), ByteBuffer.allocate(1)))
          .isInstanceOf(RankLostException.class)
          .hasMessageContaining("rank 1 (executor test-1 on localhost)");
    }
  }

  @Test
  void aRankThatHasFinishedFailsNobody() throws Exception {
    try (InProcessEnds ends = new InProcessEnds(plain, 3, LONG)) {
      ends.rank(1).send(0, gradients(0), ByteBuffer.allocate(5));
      ends.rank(1).close();
      ends.rank(2).send(0, gradients(0), ByteBuffer.allocate(6));
      assertThat(ends.rank(0).receive(1, gradients(0)).remaining()).isEqualTo(5);
      assertThat(ends.rank(0).receive(2, gradients(0)).remaining()).isEqualTo(6);
    }
  }

  @Test
  void aFatalReasonReachesTheDriver() throws Exception {
    try (InProcessEnds ends = new InProcessEnds(plain, 2, LONG)) {
      ((SparkCommunicator) ends.rank(1)).abortRun(new Failure(1, "loss is NaN at step 3"));
      assertThatThrownBy(() -> ends.driver().receiveNext(0))
          .isInstanceOf(RankLostException.class)
          .hasMessageContaining(
              "rank 1 (executor test-1 on localhost) failed: loss is NaN at step 3");
      assertThat(ends.fatal.poll(10, TimeUnit.SECONDS)).isEqualTo("loss is NaN at step 3");
      assertThat(ends.fatal).isEmpty();
    }
  }

  @Test
  void silenceLongerThanTheConnectionTimeoutKeepsChannelsOpen() throws Exception {
    SparkConf impatient =
        new SparkConf(false)
            .set("spark.moe.io.connectionTimeout", "1s")
            .set("spark.moe.io.connectionCreationTimeout", "20s");
    try (InProcessEnds ends = new InProcessEnds(impatient, 2, Duration.ofMillis(2500))) {
      assertThatThrownBy(() -> ends.rank(0).receive(1, gradients(0)))
          .isInstanceOf(RankLateException.class);
      ends.rank(1).send(0, gradients(1), ByteBuffer.allocate(4));
      assertThat(ends.rank(0).receive(1, gradients(1)).remaining()).isEqualTo(4);
    }
  }

  @Test
  void impossibleMessagesOfARankEndItsConnectionAndNameIt() throws Exception {
    List<ByteBuffer> impossible = new ArrayList<>();
    impossible.add(message(Message.FRAME).put((byte) 99).putInt(1).putInt(1).putInt(0).putInt(8));
    impossible.add(message(Message.FRAME).put((byte) 0).putInt(1).putInt(1).putInt(0).putInt(-8));
    impossible.add(
        message(Message.FRAME).put((byte) 0).putInt(1).putInt(1).putInt(0).putInt(2).putInt(0));
    impossible.add(message(Message.FRAME).put((byte) 0));
    impossible.add(message(Message.MORE).putInt(1));
    impossible.add(message(Message.ABORT).put((byte) 0).putShort((short) 9000));
    impossible.add(message((byte) 77));
    for (ByteBuffer message : impossible) {
      try (InProcessEnds ends = new InProcessEnds(plain, 2, LONG)) {
        ((SparkCommunicator) ends.rank(0)).peer(1).tell(message.flip());
        assertThatThrownBy(() -> ends.rank(1).receive(0, gradients(0)))
            .isInstanceOf(RankLostException.class)
            .hasMessageContaining("rank 0 (executor test-0 on localhost) failed: ");
      }
    }
  }

  @Test
  void aStrangersBytesCloseItsConnectionAndHarmNobody() throws Exception {
    try (Rendezvous run = rendezvous(1, LONG)) {
      List<ByteBuffer> openings =
          List.of(
              message((byte) 0x16).putLong(42),
              message(Message.HELLO).putInt(0x47455420),
              message(Message.FRAME).put((byte) 0).putInt(1).putInt(1).putInt(0).putInt(1 << 30),
              message(Message.WELCOME));
      for (ByteBuffer opening : openings) {
        TransportClient client = stranger(run.ticket(), plain);
        Peer.write(client.getChannel(), opening.flip());
        assertThat(client.getChannel().closeFuture().await(10, TimeUnit.SECONDS)).isTrue();
      }
      CompletableFuture<SparkCommunicator> rank = joining(run.ticket(), 0, 0);
      assertThat(run.awaitAttempt().driverEnd().failure()).isNull();
      get(rank).close();
    }
  }

  @Test
  void aBufferIsReleasedWhetherItsChannelIsOpenOrClosed() throws Exception {
    try (Rendezvous run = rendezvous(1, LONG)) {
      Channel channel = stranger(run.ticket(), plain).getChannel();
      ByteBuf sent = channel.alloc().directBuffer(8).writeLong(7);
      assertThat(Peer.write(channel, sent).await(10, TimeUnit.SECONDS)).isTrue();
      awaitEventLoop(channel);
      assertThat(sent.refCnt()).isZero();
      channel.close().await(10, TimeUnit.SECONDS);
      awaitEventLoop(channel);
      ByteBuf unsent = channel.alloc().directBuffer(8).writeLong(7);
      assertThat(Peer.write(channel, unsent).await(10, TimeUnit.SECONDS)).isTrue();
      awaitEventLoop(channel);
      assertThat(unsent.refCnt()).isZero();
    }
  }

  /** A write's future completes within a task of the event loop whose rest may still release. */
  private static void awaitEventLoop(Channel channel) throws InterruptedException {
    assertThat(channel.eventLoop().submit(() -> {}).await(10, TimeUnit.SECONDS)).isTrue();
  }

  @Test
  void anEndWithoutTheSecretCannotJoin() {
    SparkConf secret =
        new SparkConf(false)
            .set("spark.authenticate", "true")
            .set("spark.authenticate.secret", "one");
    SparkConf wrong = secret.clone().set("spark.authenticate.secret", "two");
    try (Rendezvous run = InProcessEnds.rendezvous(secret, 1, LONG, (fatal, reason) -> {})) {
      for (SparkConf conf : List.of(wrong, plain)) {
        assertThatThrownBy(
                () ->
                    InProcessEnds.join(
                        conf,
                        new RunTicket(
                            run.ticket().host(),
                            run.ticket().port(),
                            run.ticket().token(),
                            1,
                            SHORT,
                            SHORT),
                        0,
                        0))
            .isInstanceOfAny(RankLostException.class, RankLateException.class);
      }
      assertThat(run.numAttempts()).isZero();
    }
  }

  private static ByteBuffer message(byte type) {
    return ByteBuffer.allocate(64).order(ByteOrder.LITTLE_ENDIAN).put(type);
  }
}
