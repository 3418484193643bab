package io.sparkmoe.spark.cluster;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.io.InsufficientSpaceException;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.FatalRunException;
import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.FrameKind;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.spark.api.java.JavaRDD;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Runs on two real executor processes. */
@Timeout(120)
class BarrierRunTest {

  private static final RunSettings SETTINGS =
      new RunSettings("barrier run test", Duration.ofSeconds(60), Duration.ofSeconds(60));
  private static final RunSettings IMPATIENT =
      new RunSettings("late rank test", Duration.ofSeconds(3), Duration.ofSeconds(6));
  private static final FrameKey LAST_WORD = control(8);

  /** Done when every rank is. */
  private static final DriverTask IDLE =
      (end, attempt) -> {
        for (int rank = 0; rank < end.size(); rank++) {
          end.receive(rank, LAST_WORD);
        }
      };

  private static LocalClusterSession session;

  @BeforeAll
  static void start() throws Exception {
    session =
        new LocalClusterSession(
            2, 1024, Map.of("spark.serializer", "org.apache.spark.serializer.KryoSerializer"));
    assertThat(Preflight.awaitExecutors(session.sc(), 2, Duration.ofSeconds(120))).isEmpty();
  }

  @AfterAll
  static void stop() throws Exception {
    session.close();
  }

  private static JavaRDD<Integer> numbers() {
    return session.sc().parallelize(List.of(1, 2, 3, 4, 5, 6), 3).repartition(2);
  }

  private static FrameKey control(int part) {
    return new FrameKey(FrameKind.CONTROL, 1, part, 0);
  }

  private static ByteBuffer text(String text) {
    return ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
  }

  @Test
  void ranksReadTheirRowsAndTheDriverHearsThem() {
    List<String> heard = new ArrayList<>();
    BarrierRun.Result result =
        BarrierRun.run(
            session.sc(),
            numbers(),
            (communicator, rows, context) -> {
              int sum = 0;
              while (rows.hasNext()) {
                sum += rows.next();
              }
              communicator.send(Communicator.DRIVER, control(0), text("rank " + context.rank()));
              return new byte[] {(byte) sum, (byte) context.rank(), (byte) context.numThreads()};
            },
            (end, attempt) -> {
              for (int rank = 0; rank < end.size(); rank++) {
                heard.add(StandardCharsets.UTF_8.decode(end.receive(rank, control(0))).toString());
              }
            },
            SETTINGS);
    assertThat(heard).containsExactly("rank 0", "rank 1");
    assertThat(result.stageAttempts()).isEqualTo(1);
    assertThat(result.failures()).isEmpty();
    assertThat(result.results()).hasSize(2);
    assertThat(result.results().get(0)[0] + result.results().get(1)[0]).isEqualTo(21);
    assertThat(result.results().get(1)).endsWith(1, 1);
  }

  @Test
  void framesTravelBetweenExecutors() {
    BarrierRun.Result result =
        BarrierRun.run(session.sc(), numbers(), new EchoTask(), IDLE, SETTINGS);
    double[] figures = new double[2];
    ByteBuffer.wrap(result.results().get(0))
        .order(ByteOrder.LITTLE_ENDIAN)
        .asDoubleBuffer()
        .get(figures);
    assertThat(figures).doesNotContain(0);
    System.out.printf(
        "64 B round trip between executors: %.3f ms median; 64 MiB frames one way: %.0f MB/s%n",
        figures[0], figures[1]);
  }

  @Test
  void aKilledExecutorIsNamedAndTheStageRunsAgain() {
    BarrierRun.Result result =
        BarrierRun.run(
            session.sc(),
            numbers(),
            (communicator, rows, context) -> {
              byte[] pid =
                  Long.toString(ProcessHandle.current().pid()).getBytes(StandardCharsets.UTF_8);
              communicator.send(Communicator.DRIVER, control(0), ByteBuffer.wrap(pid));
              communicator.receive(Communicator.DRIVER, control(1));
              return new byte[] {(byte) context.attempt()};
            },
            (end, attempt) -> {
              String pid = StandardCharsets.UTF_8.decode(end.receive(1, control(0))).toString();
              if (attempt == 0) {
                ProcessHandle.of(Long.parseLong(pid)).orElseThrow().destroyForcibly();
                end.receive(1, control(9));
              }
              end.send(0, control(1));
              end.send(1, control(1));
            },
            SETTINGS);
    assertThat(result.stageAttempts()).isEqualTo(2);
    assertThat(result.results()).containsExactly(new byte[] {1}, new byte[] {1});
    assertThat(result.failures()).hasSize(1);
    assertThat(result.failures().get(0))
        .contains("rank 1 (executor")
        .contains("its connection closed");
  }

  @Test
  void anExecutorThatDiesWhenTheDriverIsDoneCostsNothing() {
    BarrierRun.Result result =
        BarrierRun.run(
            session.sc(),
            numbers(),
            (communicator, rows, context) -> {
              communicator.send(Communicator.DRIVER, LAST_WORD);
              communicator.receive(Communicator.DRIVER, control(1));
              if (context.rank() == 1) {
                Runtime.getRuntime().halt(1);
              }
              return communicator.receive(1, control(2)).array();
            },
            (end, attempt) -> {
              IDLE.run(end, attempt);
              end.send(0, control(1));
              end.send(1, control(1));
            },
            SETTINGS);
    assertThat(result.stageAttempts()).isEqualTo(1);
    assertThat(result.results()).isEmpty();
    assertThat(result.failures()).hasSize(1);
    assertThat(result.failures().get(0))
        .contains("rank 1 (executor")
        .contains("its connection closed");
  }

  @Test
  void aLateRankIsNamedAndTheStageRunsAgain() {
    BarrierRun.Result result =
        BarrierRun.run(
            session.sc(),
            numbers(),
            (communicator, rows, context) -> {
              if (context.attempt() == 0) {
                if (context.rank() == 0) {
                  communicator.receive(1, control(4));
                }
                new CountDownLatch(1).await(30, TimeUnit.SECONDS);
              }
              communicator.send(Communicator.DRIVER, LAST_WORD);
              return new byte[0];
            },
            (end, attempt) -> {
              if (attempt == 0) {
                // Else the driver's own deadline would name rank 0, which waits too.
                new CountDownLatch(1).await(4, TimeUnit.SECONDS);
              }
              IDLE.run(end, attempt);
            },
            IMPATIENT);
    assertThat(result.stageAttempts()).isEqualTo(2);
    assertThat(result.failures()).hasSize(1);
    assertThat(result.failures().get(0))
        .contains("rank 1 (executor")
        .contains("is late")
        .contains("no control of step 1, part 4, layer 0 within 3 s");
  }

  @Test
  void aFatalFailureOfARankEndsTheRunWithItsSentence() {
    List<Integer> attempts = new ArrayList<>();
    assertThatThrownBy(
            () ->
                BarrierRun.run(
                    session.sc(),
                    numbers(),
                    (communicator, rows, context) -> {
                      if (context.rank() == 1) {
                        throw new FatalRunException("loss is NaN at step 3 on rank 1");
                      }
                      communicator.receive(1, control(0));
                      return new byte[0];
                    },
                    (end, attempt) -> {
                      attempts.add(attempt);
                      end.receiveNext(0);
                    },
                    SETTINGS))
        .isInstanceOf(FatalRunException.class)
        .hasMessage("loss is NaN at step 3 on rank 1");
    assertThat(attempts).containsExactly(0);
  }

  @Test
  void aFailureOfTheDriverEndsTheRunWithItsSentence() {
    assertThatThrownBy(
            () ->
                BarrierRun.run(
                    session.sc(),
                    numbers(),
                    (communicator, rows, context) ->
                        communicator.receive(Communicator.DRIVER, control(0)).array(),
                    (end, attempt) -> {
                      throw new IllegalArgumentException("checkpoint step-4 is of another model");
                    },
                    SETTINGS))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("checkpoint step-4 is of another model");
  }

  @Test
  void aFullDiskOfTheDriverIsToldByItsType() {
    assertThatThrownBy(
            () ->
                BarrierRun.run(
                    session.sc(),
                    numbers(),
                    (communicator, rows, context) ->
                        communicator.receive(Communicator.DRIVER, control(0)).array(),
                    (end, attempt) -> {
                      throw new InsufficientSpaceException("a checkpoint", "/d", 2, 1, "free some");
                    },
                    SETTINGS))
        .isInstanceOf(UncheckedIOException.class)
        .hasCauseInstanceOf(InsufficientSpaceException.class);
  }

  @Test
  void aDriverThatMissesAFrameOfRanksThatEndedIsAFailure() {
    assertThatThrownBy(
            () ->
                BarrierRun.run(
                    session.sc(),
                    numbers(),
                    (communicator, rows, context) -> new byte[0],
                    (end, attempt) -> end.receive(1, control(7)),
                    IMPATIENT))
        .isInstanceOf(RunFailedException.class)
        .hasMessageContaining("all ranks ended, but the driver's task failed: rank 1 (executor")
        .hasMessageContaining("no control of step 1, part 7, layer 0 within 3 s");
  }

  @Test
  void aRunThatAlwaysFailsSaysHowOftenAndWhy() {
    assertThatThrownBy(
            () ->
                BarrierRun.run(
                    session.sc(),
                    numbers(),
                    (communicator, rows, context) -> {
                      if (context.rank() == 0) {
                        throw new IllegalStateException("shard 3 is unreadable");
                      }
                      communicator.receive(0, control(0));
                      return new byte[0];
                    },
                    IDLE,
                    SETTINGS))
        .isInstanceOf(RunFailedException.class)
        .hasMessageContaining(
            "the run failed in each of 4 attempts, at last because rank 0 (executor")
        .hasMessageContaining("java.lang.IllegalStateException: shard 3 is unreadable");
  }

  /**
   * Rank 0 sends, rank 1 answers; returns the median round trip in ms and the MB/s of large frames.
   */
  private static final class EchoTask implements RankTask<Integer> {

    private static final long serialVersionUID = 1;

    private static final int NUM_PINGS = 2000;
    private static final int NUM_LARGE = 4;
    private static final int LARGE_BYTES = 64 << 20;

    @Override
    public byte[] run(
        Communicator communicator, java.util.Iterator<Integer> rows, RankContext context) {
      int other = 1 - context.rank();
      ByteBuffer small = ByteBuffer.allocateDirect(64);
      long[] nanos = new long[NUM_PINGS];
      for (int ping = 0; ping < NUM_PINGS; ping++) {
        FrameKey key = new FrameKey(FrameKind.DISPATCH, 1, ping, 0);
        long start = System.nanoTime();
        if (context.rank() == 0) {
          communicator.send(other, key, small);
          communicator.receive(other, key);
        } else {
          communicator.send(other, key, communicator.receive(other, key));
        }
        nanos[ping] = System.nanoTime() - start;
      }
      Arrays.sort(nanos);
      double megabytesPerSecond =
          context.rank() == 0 ? sendLarge(communicator) : receiveLarge(communicator);
      communicator.send(Communicator.DRIVER, LAST_WORD);
      ByteBuffer result = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN);
      return result.putDouble(nanos[NUM_PINGS / 2] / 1e6).putDouble(megabytesPerSecond).array();
    }

    private static double sendLarge(Communicator communicator) {
      ByteBuffer large = ByteBuffer.allocateDirect(LARGE_BYTES);
      for (int i = 0; i < LARGE_BYTES; i++) {
        large.put(i, (byte) (i * 31 >> 3));
      }
      long start = System.nanoTime();
      for (int i = 0; i < NUM_LARGE; i++) {
        communicator.send(1, control(i), large);
        communicator.receive(1, control(i));
      }
      return NUM_LARGE * (double) LARGE_BYTES * 1000 / (System.nanoTime() - start);
    }

    /** Looks at the bytes after the last answer, so that the figure is the network's. */
    private static double receiveLarge(Communicator communicator) {
      ByteBuffer got = null;
      for (int i = 0; i < NUM_LARGE; i++) {
        got = communicator.receive(0, control(i));
        communicator.send(0, control(i));
      }
      if (got.remaining() != LARGE_BYTES) {
        throw new IllegalStateException(
            "frame has " + got.remaining() + " bytes, expected " + LARGE_BYTES);
      }
      for (int at = 0; at < LARGE_BYTES; at++) {
        if (got.get(at) != (byte) (at * 31 >> 3)) {
          throw new IllegalStateException("byte " + at + " of the last frame is " + got.get(at));
        }
      }
      return 1;
    }
  }
}
