package io.sparkmoe.moe;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.CorruptFrameException;
import io.sparkmoe.parallel.FrameCodec;
import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.FrameKind;
import io.sparkmoe.parallel.LocalCommunicator;
import io.sparkmoe.parallel.RankThreads;
import io.sparkmoe.parallel.RowCodec;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Legend: T tokens of a rank in B sequences, D model width, E experts, K experts of a token. */
@Timeout(60)
class RemoteGateTest {

  private static final long SEED = Long.getLong("moe.seed", 42);
  private static final int RANKS = 3;
  private static final int LAYER = 2;
  private static final int E = 8;
  private static final int D = 6;
  private static final int K = 2;
  private static final int B = 2;
  private static final int T = 10;
  private static final RouterConfig CONFIG = new RouterConfig(K, 4, 2, true, 2.5, true);
  private static final GateSite TRAINING = new GateSite(4, 1, LAYER, true);
  private static final GateSite EVALUATION = new GateSite(4, 2, LAYER, false);

  private static Tensor random(Scope scope, DType type, long stream, int... shape) {
    Random random = new Random(SEED * 31 + stream);
    Tensor tensor = scope.allocate(type, shape);
    for (int i = 0; i < tensor.size(); i++) {
      tensor.set(i, (float) random.nextGaussian());
    }
    return tensor;
  }

  private static LocalGate gate(Scope scope, DType type, Tensor dWeight) {
    GateWeights weights =
        new GateWeights(random(scope, type, 1, E, D), dWeight, random(scope, type, 2, E));
    return new LocalGate(CONFIG, Map.of(LAYER, weights), new ReferenceKernels());
  }

  /** One rank's questions, and everything that came back. */
  private static List<Object> ask(Gate gate, int rank, DType type) {
    try (Arena arena = new Arena("rank " + rank, 1 << 20);
        Scope scope = arena.scope()) {
      Tensor x = random(scope, type, 10 + rank, T, D);
      Tensor valid = scope.allocate(DType.I32, B);
      valid.setInt(0, T / B);
      valid.setInt(1, rank); // padding, of which rank 0 has a whole sequence
      List<Object> answers = new ArrayList<>();
      for (GateSite site : List.of(TRAINING, EVALUATION)) {
        Routing routing = gate.route(site, x, valid, scope).await();
        answers.add(values(routing.ids()));
        answers.add(values(routing.weights()));
        answers.add(routing.balanceLoss());
      }
      Tensor dx = random(scope, type, 20 + rank, T, D);
      gate.backward(TRAINING, dx, random(scope, type, 30 + rank, T, K), 0.25).await();
      answers.add(values(dx));
      return answers;
    }
  }

  private static List<Double> values(Tensor tensor) {
    List<Double> values = new ArrayList<>();
    for (int i = 0; i < tensor.size(); i++) {
      values.add(tensor.get(i));
    }
    return values;
  }

  private static List<RowCodec> codecs(Wire wire, DType type, int count) {
    return Collections.nCopies(count, new RowCodec(wire, type, D, new ReferenceKernels()));
  }

  // Law: a gate gives the same bits wherever it is evaluated.
  @ParameterizedTest
  @CsvSource({"F32,FP32", "F64,FP32", "F32,BF16"})
  void theDriversGateGivesTheBitsOfAGateOnTheRank(DType type, Wire wire) throws Exception {
    try (Arena arena = new Arena("driver", 1 << 22)) {
      try (Scope scope = arena.scope();
          LocalCommunicator.Group group = LocalCommunicator.group(RANKS, Duration.ofSeconds(20))) {
        List<LocalGate> gates = new ArrayList<>();
        List<Tensor> gradients = new ArrayList<>();
        for (int rank = 0; rank < RANKS; rank++) {
          gradients.add(scope.zeros(type, E, D));
          gates.add(gate(scope, type, gradients.get(rank)));
        }
        long usedBefore = arena.usedBytes();
        List<List<Object>> remote;
        try (GateServer server =
            new GateServer(group.driver(), gates, K, D, type, codecs(wire, type, RANKS), arena)) {
          List<Future<?>> serving = serve(group.driver(), server, 3);
          remote =
              RankThreads.run(
                  group,
                  RANKS,
                  end -> {
                    RemoteGate gate = new RemoteGate(end, CONFIG, wire, new ReferenceKernels());
                    return ask(gate, end.rank(), type);
                  });
          for (Future<?> thread : serving) {
            thread.get();
          }
          // Nothing is kept: neither of the evaluation nor of the training site after its backward.
          assertThat(arena.usedBytes()).isEqualTo(usedBefore);
        }
        for (int rank = 0; rank < RANKS; rank++) {
          Tensor dWeight = scope.zeros(type, E, D);
          LocalGate local = gate(scope, type, dWeight);
          Gate here = wire == Wire.BF16 ? new RoundedGate(local, new ReferenceKernels()) : local;
          assertThat(remote.get(rank)).isEqualTo(ask(here, rank, type));
          assertThat(values(gradients.get(rank))).isEqualTo(values(dWeight));
          assertThat(gates.get(rank).load(LAYER)).containsExactly(local.load(LAYER));
        }
        int element = type.sizeBytes();
        int hidden = wire == Wire.BF16 ? 2 : element;
        int header = FrameCodec.HEADER_BYTES;
        assertThat(group.rank(1).sentBytes()[FrameKind.GATE.ordinal()])
            .isEqualTo(2 * (header + 9 + 4 * B + T * D * hidden) + header + 8 + T * K * element);
        assertThat(group.driver().sentBytes()[FrameKind.GATE.ordinal()])
            .isEqualTo(
                RANKS * (2L * (header + 8 + T * K * (2 + element)) + header + T * D * element));
      }
    }
  }

  /** One thread per rank, each answering so many frames. */
  private static List<Future<?>> serve(Communicator driver, GateServer server, int frames) {
    ExecutorService threads = Executors.newFixedThreadPool(RANKS);
    List<Future<?>> serving = new ArrayList<>();
    for (int rank = 0; rank < RANKS; rank++) {
      int from = rank;
      serving.add(
          threads.submit(
              () -> {
                for (int i = 0; i < frames; i++) {
                  server.handle(from, driver.receiveNext(from));
                }
              }));
    }
    threads.shutdown();
    return serving;
  }

  @Test
  void aTrainingSiteIsHeldUntilItsBackwardOrTheEnd() {
    try (Arena arena = new Arena("driver", 1 << 22);
        Scope scope = arena.scope();
        LocalCommunicator.Group group = LocalCommunicator.group(1, Duration.ofSeconds(20))) {
      LocalGate gate = gate(scope, DType.F32, scope.zeros(DType.F32, E, D));
      GateServer server =
          new GateServer(
              group.driver(),
              List.of(gate),
              K,
              D,
              DType.F32,
              codecs(Wire.FP32, DType.F32, 1),
              arena);
      RemoteGate remote = new RemoteGate(group.rank(0), CONFIG, Wire.FP32, new ReferenceKernels());
      Tensor x = random(scope, DType.F32, 3, T, D);
      Tensor valid = scope.zeros(DType.I32, B);
      long usedBefore = arena.usedBytes();
      remote.route(TRAINING, x, valid, scope);
      server.handle(0, group.driver().receiveNext(0));
      assertThat(arena.usedBytes()).isGreaterThan(usedBefore);
      server.close();
      assertThat(arena.usedBytes()).isEqualTo(usedBefore);
    }
  }

  @Test
  void aBackwardWithoutItsForwardIsRefused() {
    try (Arena arena = new Arena("driver", 1 << 22);
        Scope scope = arena.scope();
        LocalCommunicator.Group group = LocalCommunicator.group(1, Duration.ofSeconds(20))) {
      LocalGate gate = gate(scope, DType.F32, scope.zeros(DType.F32, E, D));
      RemoteGate remote = new RemoteGate(group.rank(0), CONFIG, Wire.FP32, new ReferenceKernels());
      Tensor dx = scope.zeros(DType.F32, T, D);
      Tensor dWeights = scope.zeros(DType.F32, T, K);
      assertThatThrownBy(() -> remote.backward(TRAINING, dx, dWeights, 0))
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("no forward");
      try (GateServer server =
          new GateServer(
              group.driver(),
              List.of(gate),
              K,
              D,
              DType.F32,
              codecs(Wire.FP32, DType.F32, 1),
              arena)) {
        FrameKey key = new FrameKey(FrameKind.GATE, 4, 3, LAYER);
        assertThatThrownBy(
                () -> server.handle(0, new Communicator.Frame(key, ByteBuffer.allocate(8))))
            .isInstanceOf(IllegalStateException.class)
            .hasMessageContaining("rank 0")
            .hasMessageContaining("had no forward");
      }
    }
  }

  @Test
  void questionsThatContradictThemselvesAreRefusedAndHoldNothing() {
    try (Arena arena = new Arena("driver", 1 << 22);
        Scope scope = arena.scope();
        LocalCommunicator.Group group = LocalCommunicator.group(1, Duration.ofSeconds(20))) {
      LocalGate gate = gate(scope, DType.F32, scope.zeros(DType.F32, E, D));
      GateServer server =
          new GateServer(
              group.driver(),
              List.of(gate),
              K,
              D,
              DType.F32,
              codecs(Wire.FP32, DType.F32, 1),
              arena);
      long usedBefore = arena.usedBytes();
      int bytes = 9 + 4 * B + 4 * T * D;
      for (int[] wrong :
          new int[][] {
            {T, B, bytes - 1, 1},
            {T, B, 5, 1},
            {-1, B, bytes, 1},
            {T, -1, bytes, 1},
            {T, 3, bytes, 1},
            {T, 0, bytes, 1},
            {Integer.MAX_VALUE, 1, bytes, 1},
            {T, B, bytes, T / B + 1},
            {T, B, bytes, -1}
          }) {
        ByteBuffer question = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
        question.putInt(1, wrong[0]).putInt(5, wrong[1]).putInt(9, wrong[3]).limit(wrong[2]);
        FrameKey key = new FrameKey(FrameKind.GATE, 4, 2, LAYER);
        assertThatThrownBy(() -> server.handle(0, new Communicator.Frame(key, question)))
            .as("tokens, sequences, bytes, valid: %s", Arrays.toString(wrong))
            .isInstanceOf(CorruptFrameException.class)
            .hasMessageContaining("rank 0")
            .hasMessageContaining("gate of step 4");
        assertThat(arena.usedBytes()).isEqualTo(usedBefore);
      }
    }
  }
}
