package io.sparkmoe.parallel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.parallel.Communicator.Frame;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * What every {@link Communicator} does; an implementation's test says how a group of ends is
 * opened.
 */
@Timeout(60)
public abstract class CommunicatorContract {

  private static final Duration LONG = Duration.ofSeconds(30);
  private static final Duration SHORT = Duration.ofMillis(200);

  /** A driver and ranks that can reach each other. */
  public interface Ends extends AutoCloseable {
    Communicator driver();

    Communicator rank(int rank);
  }

  /** Opens a fresh group in this process. */
  protected abstract Ends open(int ranks, Duration deadline) throws Exception;

  private static FrameKey key(FrameKind kind, int part) {
    return new FrameKey(kind, 3, part, 2);
  }

  private static ByteBuffer ints(int... values) {
    ByteBuffer buffer =
        ByteBuffer.allocateDirect(values.length * Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    buffer.asIntBuffer().put(values);
    return buffer;
  }

  @Test
  void everyEndKnowsItsRankAndTheSize() throws Exception {
    try (Ends ends = open(3, LONG)) {
      assertThat(ends.driver().rank()).isEqualTo(Communicator.DRIVER);
      assertThat(ends.driver().size()).isEqualTo(3);
      for (int rank = 0; rank < 3; rank++) {
        assertThat(ends.rank(rank).rank()).isEqualTo(rank);
        assertThat(ends.rank(rank).size()).isEqualTo(3);
        assertThat(ends.rank(rank).describe(rank)).contains("rank " + rank);
      }
    }
  }

  @Test
  void everyPairOfEndsExchangesFramesAtOnce() throws Exception {
    int ranks = 4;
    try (Ends ends = open(ranks, LONG)) {
      List<CompletableFuture<Void>> threads = new ArrayList<>();
      for (int me = Communicator.DRIVER; me < ranks; me++) {
        int self = me;
        Communicator end = self == Communicator.DRIVER ? ends.driver() : ends.rank(self);
        threads.add(
            CompletableFuture.runAsync(
                () -> {
                  for (int other = Communicator.DRIVER; other < ranks; other++) {
                    if (other != self) {
                      end.send(other, key(FrameKind.DISPATCH, 0), ints(self, other));
                    }
                  }
                  for (int other = Communicator.DRIVER; other < ranks; other++) {
                    if (other != self) {
                      ByteBuffer got = end.receive(other, key(FrameKind.DISPATCH, 0));
                      assertThat(new int[] {got.getInt(), got.getInt()})
                          .containsExactly(other, self);
                      assertThat(got.remaining()).isZero();
                    }
                  }
                }));
      }
      for (CompletableFuture<Void> thread : threads) {
        thread.get(30, TimeUnit.SECONDS);
      }
    }
  }

  @Test
  void partsArriveAsOneLittleEndianFrameAndKeepTheirPositions() throws Exception {
    try (Ends ends = open(2, LONG)) {
      ByteBuffer first = ints(7, 8);
      first.position(4);
      ByteBuffer second = ByteBuffer.wrap(new byte[] {1, 2, 3});
      ends.rank(0).send(1, key(FrameKind.GRADIENTS, 0), first, second);
      assertThat(first.position()).isEqualTo(4);
      assertThat(second.position()).isZero();
      first.putInt(4, 99); // the sender may reuse its buffer

      ByteBuffer got = ends.rank(1).receive(0, key(FrameKind.GRADIENTS, 0));
      assertThat(got.order()).isEqualTo(ByteOrder.LITTLE_ENDIAN);
      assertThat(got.position()).isZero();
      assertThat(got.remaining()).isEqualTo(7);
      assertThat(got.getInt()).isEqualTo(8);
      assertThat(new byte[] {got.get(), got.get(), got.get()}).containsExactly(1, 2, 3);
    }
  }

  @Test
  void aKeyIsFoundBehindOthersAndTheRestKeepsItsOrder() throws Exception {
    try (Ends ends = open(2, LONG)) {
      for (int part = 0; part < 4; part++) {
        ends.rank(0).send(1, key(FrameKind.COMBINE, part), ints(part));
      }
      assertThat(ends.rank(1).receive(0, key(FrameKind.COMBINE, 2)).getInt()).isEqualTo(2);
      List<FrameKey> rest = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        Frame frame = ends.rank(1).receiveNext(0);
        assertThat(frame.payload().getInt()).isEqualTo(frame.key().part());
        rest.add(frame.key());
      }
      assertThat(rest)
          .containsExactly(
              key(FrameKind.COMBINE, 0), key(FrameKind.COMBINE, 1), key(FrameKind.COMBINE, 3));
    }
  }

  @Test
  void emptyAndLargeFramesArriveWhole() throws Exception {
    try (Ends ends = open(1, LONG)) {
      ends.driver().send(0, key(FrameKind.CONTROL, 0));
      ByteBuffer large = ByteBuffer.allocateDirect(5_000_003);
      for (int i = 0; i < large.capacity(); i++) {
        large.put(i, (byte) (i * 31));
      }
      ends.driver().send(0, key(FrameKind.CONTROL, 1), large);
      assertThat(ends.rank(0).receive(Communicator.DRIVER, key(FrameKind.CONTROL, 0)).remaining())
          .isZero();
      ByteBuffer got = ends.rank(0).receive(Communicator.DRIVER, key(FrameKind.CONTROL, 1));
      assertThat(got).isEqualTo(large);
    }
  }

  @Test
  void bytesAreCountedByKindWithTheirHeaders() throws Exception {
    try (Ends ends = open(2, LONG)) {
      ends.rank(0).send(1, key(FrameKind.DISPATCH, 0), ints(1, 2, 3));
      ends.rank(0).send(Communicator.DRIVER, key(FrameKind.DISPATCH, 1), ints(1));
      ends.rank(0).send(1, key(FrameKind.GATE, 0));
      long[] bytes = ends.rank(0).sentBytes();
      assertThat(bytes[FrameKind.DISPATCH.ordinal()]).isEqualTo(16 + 2 * FrameCodec.HEADER_BYTES);
      assertThat(bytes[FrameKind.GATE.ordinal()]).isEqualTo(FrameCodec.HEADER_BYTES);
      assertThat(bytes[FrameKind.COMBINE.ordinal()]).isZero();
      assertThat(ends.rank(1).sentBytes()).containsOnly(0);
    }
  }

  @Test
  void aLateRankIsNamedWithStepAndPhase() throws Exception {
    try (Ends ends = open(2, SHORT)) {
      assertThatThrownBy(() -> ends.rank(0).receive(1, key(FrameKind.COMBINE, 4)))
          .isInstanceOf(RankLateException.class)
          .hasMessageContaining(ends.rank(0).describe(1) + " is late")
          .hasMessageContaining("combine of step 3, part 4, layer 2")
          .hasMessageContaining("0.2 s")
          .hasMessageContaining("cluster.deadline_seconds");
      assertThatThrownBy(() -> ends.driver().receiveNext(0))
          .isInstanceOf(RankLateException.class)
          .hasMessageContaining(ends.driver().describe(0) + " is late");
    }
  }

  @Test
  void anAbortEndsEveryWaitWithItsReason() throws Exception {
    try (Ends ends = open(3, LONG)) {
      // Rank 0 waits for rank 2, which is healthy: it must hear of rank 1 all the same.
      CompletableFuture<ByteBuffer> waiting =
          CompletableFuture.supplyAsync(() -> ends.rank(0).receive(2, key(FrameKind.COMBINE, 0)));
      CompletableFuture<Frame> driver =
          CompletableFuture.supplyAsync(() -> ends.driver().receiveNext(2));
      ends.rank(1).abort("loss is NaN");
      for (CompletableFuture<?> wait : List.of(waiting, driver)) {
        assertThatThrownBy(() -> wait.get(20, TimeUnit.SECONDS))
            .hasCauseInstanceOf(RankLostException.class)
            .hasMessageContaining("rank 1")
            .hasMessageContaining("loss is NaN");
      }
    }
  }

  @Test
  void anEndThatKeepsAliveIsWaitedForBeyondTheDeadline() throws Exception {
    try (Ends ends = open(2, SHORT)) {
      CompletableFuture<ByteBuffer> waiting =
          CompletableFuture.supplyAsync(() -> ends.rank(0).receive(1, key(FrameKind.CONTROL, 0)));
      try (KeepAlive working = new KeepAlive(ends.rank(1), SHORT, LONG)) {
        assertThatThrownBy(() -> waiting.get(4 * SHORT.toMillis(), TimeUnit.MILLISECONDS))
            .isInstanceOf(TimeoutException.class);
      }
      ends.rank(1).send(0, key(FrameKind.CONTROL, 0), ints(5));
      assertThat(waiting.get(20, TimeUnit.SECONDS).getInt()).isEqualTo(5);
    }
  }

  @Test
  void workBeyondItsOwnLimitIsLate() throws Exception {
    try (Ends ends = open(1, SHORT);
        KeepAlive working = new KeepAlive(ends.driver(), SHORT, SHORT.multipliedBy(2))) {
      assertThatThrownBy(() -> ends.rank(0).receive(Communicator.DRIVER, key(FrameKind.CONTROL, 0)))
          .isInstanceOf(RankLateException.class)
          .hasMessageContaining("the driver")
          .hasMessageContaining("is late")
          .hasMessageContaining("cluster.checkpoint_deadline_seconds");
    }
  }

  @Test
  void aFailureThatIsPassedOnNamesTheEndThatFailed() throws Exception {
    try (Ends ends = open(3, LONG)) {
      Failure ofOther = new Failure(2, "its disk (/d) failed: full");
      ends.rank(1).abort(Failure.of(1, new RankLostException("rank 1 lost rank 2", ofOther)));
      assertThatThrownBy(() -> ends.rank(0).receive(1, key(FrameKind.COMBINE, 0)))
          .isInstanceOf(RankLostException.class)
          .hasMessageContaining(ends.rank(0).describe(2) + " failed: its disk (/d) failed: full")
          .extracting(lost -> ((RankLostException) lost).failure())
          .isEqualTo(ofOther);
    }
  }

  @Test
  void whatWasSentBeforeAnAbortCanStillBeRead() throws Exception {
    try (Ends ends = open(2, LONG)) {
      ends.rank(1).send(0, key(FrameKind.CONTROL, 0), ints(5));
      ends.rank(1).abort("disk full");
      assertThat(ends.rank(0).receive(1, key(FrameKind.CONTROL, 0)).getInt()).isEqualTo(5);
      assertThatThrownBy(() -> ends.rank(0).receive(1, key(FrameKind.CONTROL, 1)))
          .isInstanceOf(RankLostException.class)
          .hasMessageContaining("disk full");
    }
  }

  @Test
  void anEndThatIsNotThereIsRefused() throws Exception {
    try (Ends ends = open(2, LONG)) {
      for (int to : new int[] {-2, 0, 2}) {
        assertThatThrownBy(() -> ends.rank(0).send(to, key(FrameKind.GATE, 0)))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessageContaining("got " + to);
      }
      assertThatThrownBy(() -> ends.rank(0).receive(2, key(FrameKind.GATE, 0)))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("got 2");
    }
  }
}
