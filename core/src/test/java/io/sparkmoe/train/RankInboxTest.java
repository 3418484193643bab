package io.sparkmoe.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.FrameKind;
import io.sparkmoe.parallel.LocalCommunicator;
import io.sparkmoe.parallel.RankLateException;
import io.sparkmoe.train.protocol.Protocol;
import io.sparkmoe.train.protocol.Protocol.Message;
import io.sparkmoe.train.protocol.StepCounts;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class RankInboxTest {

  private static final FrameKey GATE_CALL = new FrameKey(FrameKind.GATE, 1, 0, 0);

  @Test
  @DisplayName("an error in a gate call ends the coordinator's wait, as an exception does")
  void anErrorOfAGateCallReachesTheCoordinator() {
    try (LocalCommunicator.Group group = LocalCommunicator.group(1, Duration.ofSeconds(30));
        RankInbox inbox =
            new RankInbox(
                group.driver(),
                (rank, frame) -> {
                  throw new AssertionError("gate of rank " + rank);
                })) {
      group.rank(0).send(Communicator.DRIVER, GATE_CALL, ByteBuffer.allocate(1));
      assertThatThrownBy(() -> inbox.next(0, Message.COUNTS, 1, StepCounts.class))
          .isInstanceOf(AssertionError.class)
          .hasMessage("gate of rank 0");
    }
  }

  @Test
  @DisplayName("a rank is late when the coordinator has waited for it, not when it had to wait")
  void onlyAnAwaitedRankIsLate() throws Exception {
    Duration deadline = Duration.ofMillis(200);
    FrameKey first = Protocol.key(Message.COUNTS, 1);
    FrameKey second = Protocol.key(Message.REPORT, 1);
    try (LocalCommunicator.Group group = LocalCommunicator.group(1, deadline);
        RankInbox inbox = new RankInbox(group.driver(), (rank, frame) -> {})) {
      group.rank(0).send(Communicator.DRIVER, first);
      // The coordinator is busy for some deadlines, as with a checkpoint.
      new CountDownLatch(1).await(4 * deadline.toMillis(), TimeUnit.MILLISECONDS);
      inbox.next(0, first);
      group.rank(0).send(Communicator.DRIVER, second);
      inbox.next(0, second);
      assertThatThrownBy(() -> inbox.next(0, second))
          .isInstanceOf(RankLateException.class)
          .hasMessageContaining("rank 0");
    }
  }

  @Test
  @DisplayName("closing waits for a gate call under way, whose memory goes next")
  void closingWaitsForAGateCall() throws Exception {
    CountDownLatch begun = new CountDownLatch(1);
    AtomicBoolean over = new AtomicBoolean();
    try (LocalCommunicator.Group group = LocalCommunicator.group(1, Duration.ofSeconds(30))) {
      RankInbox inbox =
          new RankInbox(
              group.driver(),
              (rank, frame) -> {
                begun.countDown();
                // Until close has interrupted the thread, and some work beyond.
                while (!Thread.currentThread().isInterrupted()) {
                  Thread.onSpinWait();
                }
                for (int i = 0; i < 10_000_000; i++) {
                  Thread.onSpinWait();
                }
                over.set(true);
              });
      group.rank(0).send(Communicator.DRIVER, GATE_CALL, ByteBuffer.allocate(1));
      assertThat(begun.await(30, TimeUnit.SECONDS)).isTrue();
      inbox.close();
      assertThat(over).isTrue();
    }
  }
}
