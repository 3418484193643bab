package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(30)
class ThreadPoolParallelTest {

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 7})
  void runsEveryPieceOnce(int threads) {
    try (Parallel parallel = new ThreadPoolParallel("test", threads)) {
      assertThat(parallel.threads()).isEqualTo(threads);
      for (int pieces : new int[] {0, 1, 2, 3, 1000}) {
        for (int call = 0; call < 200; call++) {
          AtomicIntegerArray runs = new AtomicIntegerArray(pieces);
          parallel.forEach(pieces, runs::incrementAndGet);
          for (int piece = 0; piece < pieces; piece++) {
            assertThat(runs.get(piece)).isEqualTo(1);
          }
        }
      }
    }
  }

  @Test
  void threadsWorkAtTheSameTimeTheCallerAmongThem() {
    CyclicBarrier meeting = new CyclicBarrier(3);
    Set<String> names = ConcurrentHashMap.newKeySet();
    try (Parallel parallel = new ThreadPoolParallel("rank 1", 3)) {
      parallel.forEach(
          3,
          piece -> {
            names.add(Thread.currentThread().getName());
            meet(meeting);
          });
    }
    assertThat(names)
        .containsExactlyInAnyOrder(
            Thread.currentThread().getName(), "rank 1 compute 1", "rank 1 compute 2");
  }

  private static void meet(CyclicBarrier meeting) {
    try {
      meeting.await(20, TimeUnit.SECONDS);
    } catch (Exception e) {
      throw new IllegalStateException("the other threads did not come", e);
    }
  }

  @Test
  void aFailureOnAnyThreadReachesTheCallerAndThePoolGoesOn() {
    try (Parallel parallel = new ThreadPoolParallel("test", 3)) {
      for (int bad = 0; bad < 10; bad++) {
        int failing = bad;
        assertThatThrownBy(
                () ->
                    parallel.forEach(
                        10,
                        piece -> {
                          if (piece == failing) {
                            throw new IllegalStateException("piece " + piece);
                          }
                        }))
            .hasMessage("piece " + bad);
      }
      AtomicIntegerArray runs = new AtomicIntegerArray(10);
      parallel.forEach(10, runs::incrementAndGet);
      assertThat(runs.toString()).isEqualTo("[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]");
    }
  }

  @Test
  void nestedCallsRunOnTheirCaller() {
    try (Parallel parallel = new ThreadPoolParallel("test", 2)) {
      AtomicIntegerArray runs = new AtomicIntegerArray(40);
      parallel.forEach(
          4,
          outer -> {
            Thread caller = Thread.currentThread();
            parallel.forEach(
                10,
                inner -> {
                  assertThat(Thread.currentThread()).isSameAs(caller);
                  runs.incrementAndGet(outer * 10 + inner);
                });
          });
      for (int i = 0; i < 40; i++) {
        assertThat(runs.get(i)).isEqualTo(1);
      }
    }
  }

  @Test
  void aSecondCallerDoesNotWaitForTheFirst() throws Exception {
    try (Parallel parallel = new ThreadPoolParallel("test", 2)) {
      CountDownLatch started = new CountDownLatch(2);
      CountDownLatch release = new CountDownLatch(1);
      Thread first =
          new Thread(
              () ->
                  parallel.forEach(
                      2,
                      piece -> {
                        started.countDown();
                        await(release);
                      }));
      first.start();
      await(started);
      AtomicIntegerArray runs = new AtomicIntegerArray(5);
      parallel.forEach(5, runs::incrementAndGet);
      assertThat(runs.toString()).isEqualTo("[1, 1, 1, 1, 1]");
      release.countDown();
      first.join();
    }
  }

  private static void await(CountDownLatch latch) {
    try {
      assertThat(latch.await(20, TimeUnit.SECONDS)).isTrue();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void closingEndsTheThreads() throws Exception {
    ThreadPoolParallel parallel = new ThreadPoolParallel("closing", 3);
    parallel.forEach(3, piece -> {});
    parallel.close();
    for (Thread thread : Thread.getAllStackTraces().keySet()) {
      if (thread.getName().startsWith("closing compute")) {
        thread.join(20_000);
        assertThat(thread.isAlive()).isFalse();
      }
    }
    assertThatThrownBy(() -> parallel.forEach(1, piece -> {}))
        .hasMessage("compute threads are closed; open a new engine");
  }

  @Test
  void atLeastOneThreadIsNeeded() {
    assertThatThrownBy(() -> new ThreadPoolParallel("test", 0))
        .hasMessage("threads must be >= 1, got 0");
  }
}
