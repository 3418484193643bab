package io.sparkmoe.moe;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.kernel.Fp8Tensor;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.layer.ExpertRows;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.CorruptFrameException;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.parallel.FrameCodec;
import io.sparkmoe.parallel.FrameKey;
import io.sparkmoe.parallel.FrameKind;
import io.sparkmoe.parallel.LocalCommunicator;
import io.sparkmoe.parallel.RankThreads;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Legend: G tokens of all ranks, T of one, D model width, K experts of a token. Expert e computes
 * (e + 1) x + e.
 */
@Timeout(60)
class ExchangeDispatcherTest {

  private static final long SEED = Long.getLong("moe.seed", 42);

  /** The fast kernels where they exist; one thread holds nothing that wants closing. */
  private static Kernels kernels(DType type) {
    return type == DType.F64
        ? new ReferenceKernels()
        : ComputeEngine.open("test", "reference", 1).kernels();
  }

  private static final GateSite SITE = new GateSite(1, 0, 2, true);

  /** A batch over all ranks; rank r has the tokens [tokenStarts[r], tokenStarts[r+1]). */
  private record Batch(
      int numExperts,
      int topK,
      int width,
      int[] tokenStarts,
      double[][] x,
      int[][] ids,
      double[][] w) {

    static Batch random(int ranks, int numExperts, int topK, int width, int numTokens) {
      Random random = new Random(SEED);
      double[][] x = new double[numTokens][width];
      int[][] ids = new int[numTokens][];
      double[][] w = new double[numTokens][topK];
      for (int t = 0; t < numTokens; t++) {
        ids[t] = random.ints(0, numExperts).distinct().limit(topK).sorted().toArray();
        for (int d = 0; d < width; d++) {
          x[t][d] = (float) random.nextGaussian();
        }
        for (int k = 0; k < topK; k++) {
          w[t][k] = (float) random.nextDouble();
        }
      }
      int[] starts = new int[ranks + 1];
      for (int r = 1; r <= ranks; r++) {
        starts[r] = r == ranks ? numTokens : numTokens * r / (ranks + 1); // the last rank has more
      }
      return new Batch(numExperts, topK, width, starts, x, ids, w);
    }

    int numTokens(int rank) {
      return tokenStarts[rank + 1] - tokenStarts[rank];
    }

    Tensor rows(double[][] rows, int columns, int rank, DType type, Scope scope) {
      Tensor tensor = scope.allocate(type, numTokens(rank), columns);
      for (int t = 0; t < numTokens(rank); t++) {
        for (int d = 0; d < tensor.cols(); d++) {
          tensor.set(t * tensor.cols() + d, rows[tokenStarts[rank] + t][d]);
        }
      }
      return tensor;
    }

    Routing routing(int rank, DType type, Scope scope) {
      Tensor chosen = scope.allocate(DType.I32, numTokens(rank), topK);
      for (int t = 0; t < numTokens(rank); t++) {
        for (int k = 0; k < topK; k++) {
          chosen.setInt(t * topK + k, ids[tokenStarts[rank] + t][k]);
        }
      }
      return new Routing(chosen, rows(w, topK, rank, type, scope), 0);
    }
  }

  /** Everything a rank saw, as plain arrays. */
  private record Trip(
      double[] input,
      int[] rowStarts,
      double[] y,
      double[] dx,
      double[] dWeights,
      long dropped,
      long[] sentBytes) {}

  private static double[] values(Tensor tensor) {
    double[] values = new double[tensor.size()];
    Arrays.setAll(values, tensor::get);
    return values;
  }

  private static Trip trip(
      Communicator end, Batch batch, DType type, Wire dispatchWire, Wire combineWire) {
    ExpertPlacement placement = new ExpertPlacement(batch.numExperts, end.size());
    TokenDispatcher dispatcher =
        new ExchangeDispatcher(end, placement, kernels(type), dispatchWire, combineWire);
    int first = placement.firstExpert(end.rank());
    try (Arena arena = new Arena("rank " + end.rank(), 1 << 28);
        Scope scope = arena.scope()) {
      Kernels kernels = kernels(type);
      Tensor x = batch.rows(batch.x, batch.width, end.rank(), type, scope);
      TokenDispatcher.Dispatched there =
          dispatcher.dispatch(SITE, x, batch.routing(end.rank(), type, scope), scope, scope, scope);
      ExpertRows rows = there.rows();
      Tensor input = scope.allocate(type, rows.count(), batch.width);
      kernels.gatherRows(input, there.tokens(), rows.token());
      Tensor output = scope.allocate(type, input.shape());
      Tensor weighted = scope.allocate(type, input.shape());
      Tensor y = scope.zeros(type, x.shape());
      forEachValue(
          rows,
          batch.width,
          (at, e) -> {
            output.set(at, (first + e + 1) * input.get(at) + first + e);
            weighted.set(at, rows.weight().get(at / batch.width) * output.get(at));
          });
      Tensor outputs = dispatcher.outputs(there, y, scope);
      kernels.scatterAddRows(outputs, weighted, rows.token());
      dispatcher.combine(SITE, there, y, outputs, scope);
      long dropped = there.droppedTokens();

      Tensor dx = scope.zeros(type, x.shape());
      Tensor dWeights = scope.allocate(type, batch.numTokens(end.rank()), batch.topK);
      Tensor dOutputs = dispatcher.combineBackward(SITE, there, x, scope); // dy = x
      Tensor dRowWeights = scope.zeros(type, rows.count());
      Tensor dInput = scope.allocate(type, input.shape());
      kernels.gatherRows(dInput, dOutputs, rows.token());
      forEachValue(
          rows,
          batch.width,
          (at, e) -> {
            int r = at / batch.width;
            double dOutput = dInput.get(at);
            dRowWeights.set(r, dRowWeights.get(r) + output.get(at) * dOutput);
            dInput.set(at, rows.weight().get(r) * (first + e + 1) * dOutput);
          });
      Tensor dTokens = dispatcher.tokenGradients(there, dx, scope);
      kernels.scatterAddRows(dTokens, dInput, rows.token());
      dispatcher.dispatchBackward(SITE, there, dx, dWeights, dTokens, dRowWeights, scope);
      return new Trip(
          values(input),
          rows.starts(),
          values(y),
          values(dx),
          values(dWeights),
          dropped,
          end.sentBytes());
    }
  }

  private interface ValueBody {
    void at(int index, int localExpert);
  }

  private static void forEachValue(ExpertRows rows, int width, ValueBody body) {
    for (int e = 0; e + 1 < rows.starts().length; e++) {
      for (int at = rows.starts()[e] * width; at < rows.starts()[e + 1] * width; at++) {
        body.at(at, e);
      }
    }
  }

  private static List<Trip> trips(int ranks, Batch batch, DType type, Wire dispatch, Wire combine)
      throws Exception {
    return RankThreads.run(ranks, end -> trip(end, batch, type, dispatch, combine));
  }

  /** Largest difference from {@code y = sum_k w_k ((e+1) x + e)} and its gradients under dy = x. */
  private static void assertMatchesOneProcess(Batch batch, List<Trip> trips, double tolerance) {
    int width = batch.width;
    for (int rank = 0; rank < trips.size(); rank++) {
      Trip trip = trips.get(rank);
      assertThat(trip.dropped).isZero();
      for (int t = 0; t < batch.numTokens(rank); t++) {
        int token = batch.tokenStarts[rank] + t;
        for (int d = 0; d < width; d++) {
          double y = 0;
          double dx = 0;
          for (int k = 0; k < batch.topK; k++) {
            int e = batch.ids[token][k];
            y += batch.w[token][k] * ((e + 1) * batch.x[token][d] + e);
            dx += batch.w[token][k] * (e + 1) * batch.x[token][d];
          }
          assertThat(trip.y[t * width + d])
              .as("seed %d, y of token %d", SEED, token)
              .isCloseTo(y, within(tolerance));
          assertThat(trip.dx[t * width + d])
              .as("seed %d, dx of token %d", SEED, token)
              .isCloseTo(dx, within(tolerance));
        }
        for (int k = 0; k < batch.topK; k++) {
          double dw = 0;
          int e = batch.ids[token][k];
          for (int d = 0; d < width; d++) {
            dw += ((e + 1) * batch.x[token][d] + e) * batch.x[token][d];
          }
          assertThat(trip.dWeights[t * batch.topK + k])
              .as("seed %d, dWeight of token %d, expert %d", SEED, token, e)
              .isCloseTo(dw, within(tolerance * width));
        }
      }
    }
  }

  // 7 experts on 3 ranks do not divide; of 2 experts on 3 ranks the last has none; 8 ranks with 2
  // tokens
  // leave ranks without tokens.
  @ParameterizedTest(name = "{0} ranks, {1} experts, top-{2}, {3} tokens")
  @CsvSource({
    "1,5,2,9",
    "2,4,2,11",
    "3,7,3,20",
    "3,2,2,10",
    "3,2,1,10",
    "8,16,4,40",
    "8,9,3,2",
    "2,3,1,0"
  })
  void everyTokenMeetsItsExpertsAndComesHome(int ranks, int numExperts, int topK, int numTokens)
      throws Exception {
    Batch batch = Batch.random(ranks, numExperts, topK, 5, numTokens);
    // Double sums of at most 16 terms of size 50: 1e-12 is a hundred times their rounding.
    assertMatchesOneProcess(batch, trips(ranks, batch, DType.F64, Wire.FP32, Wire.FP32), 1e-12);
  }

  @ParameterizedTest
  @EnumSource
  void rowsStandByExpertThenSourceRankThenToken(Wire wire) throws Exception {
    int ranks = 3;
    Batch batch = Batch.random(ranks, 7, 3, 2, 24);
    for (int t = 0; t < batch.x.length; t++) {
      Arrays.fill(batch.x[t], t % 16); // exact in E4M3
    }
    ExpertPlacement placement = new ExpertPlacement(7, ranks);
    List<Trip> trips = trips(ranks, batch, DType.F32, wire, Wire.FP32);
    for (int rank = 0; rank < ranks; rank++) {
      List<Double> expected = new ArrayList<>();
      int[] rowStarts = new int[placement.numLocalExperts(rank) + 1];
      for (int e = 0; e < placement.numLocalExperts(rank); e++) {
        for (int t = 0; t < batch.x.length; t++) { // global token order = source rank, then token
          if (Arrays.binarySearch(batch.ids[t], placement.firstExpert(rank) + e) >= 0) {
            expected.add(t % 16.0);
            expected.add(t % 16.0);
          }
        }
        rowStarts[e + 1] = expected.size() / 2;
      }
      assertThat(trips.get(rank).rowStarts).containsExactly(rowStarts);
      assertThat(trips.get(rank).input)
          .containsExactly(expected.stream().mapToDouble(v -> v).toArray());
    }
  }

  // Law: what the experts see does not depend on where they live, also on a wire that rounds.
  @ParameterizedTest
  @EnumSource
  void expertInputsHaveTheSameBitsOnAnyNumberOfRanks(Wire wire) throws Exception {
    Batch one = Batch.random(1, 7, 3, 200, 30);
    double[] alone = trips(1, one, DType.F32, wire, Wire.FP32).get(0).input;
    for (int ranks : new int[] {2, 3, 8}) {
      Batch split = Batch.random(ranks, 7, 3, 200, 30);
      double[] joined =
          trips(ranks, split, DType.F32, wire, Wire.FP32).stream()
              .flatMapToDouble(trip -> Arrays.stream(trip.input))
              .toArray();
      assertThat(joined).as("%d ranks", ranks).containsExactly(alone);
    }
  }

  // Inputs and outputs reach 8 * |x| + 7 < 45, weights sum to at most 3 * 1. E4M3 keeps 4
  // significant bits (relative
  // 2^-4), BF16 8 (2^-8); a value is rounded once on each of its two ways.
  @ParameterizedTest
  @CsvSource({"FP8,BF16,8.0", "BF16,BF16,1.0", "FP32,BF16,0.5", "FP32,FP32,1e-4"})
  void lossyWiresStayWithinTheirRounding(Wire dispatch, Wire combine, double tolerance)
      throws Exception {
    for (int ranks : new int[] {1, 3}) {
      Batch batch = Batch.random(ranks, 7, 3, 150, 20);
      List<Trip> trips = trips(ranks, batch, DType.F32, dispatch, combine);
      assertMatchesOneProcess(batch, trips, tolerance);
    }
  }

  @ParameterizedTest
  @EnumSource
  void bytesSentAreOneRowPerTokenAndRank(Wire wire) throws Exception {
    int ranks = 3;
    int width = 200;
    Batch batch = Batch.random(ranks, 7, 3, width, 24);
    ExpertPlacement placement = new ExpertPlacement(7, ranks);
    Wire combine = wire == Wire.FP8 ? Wire.BF16 : wire;
    List<Trip> trips = trips(ranks, batch, DType.F32, wire, combine);
    int dispatchRow = rowBytes(wire, width);
    int combineRow = rowBytes(combine, width);
    long[] expected = new long[FrameKind.values().length];
    for (int from = 0; from < ranks; from++) {
      for (int to = 0; to < ranks; to++) {
        if (from == to) {
          continue;
        }
        int tokens = 0;
        int pairs = 0;
        for (int t = batch.tokenStarts[from]; t < batch.tokenStarts[from + 1]; t++) {
          int owner = to;
          int here =
              (int) Arrays.stream(batch.ids[t]).filter(id -> placement.rankOf(id) == owner).count();
          tokens += here > 0 ? 1 : 0;
          pairs += here;
        }
        assertThat(tokens).isPositive();
        int header = FrameCodec.HEADER_BYTES;
        expected[FrameKind.DISPATCH.ordinal()] +=
            header + 8 + 2 * tokens + 6 * pairs + tokens * dispatchRow;
        expected[FrameKind.COMBINE.ordinal()] += header + 4 + tokens * combineRow;
        expected[FrameKind.COMBINE_BACKWARD.ordinal()] += header + tokens * combineRow;
        expected[FrameKind.DISPATCH_BACKWARD.ordinal()] +=
            header + 4 * pairs + tokens * dispatchRow;
      }
    }
    long[] sent = new long[expected.length];
    trips.forEach(trip -> Arrays.setAll(sent, kind -> sent[kind] + trip.sentBytes[kind]));
    assertThat(sent).containsExactly(expected);
  }

  private static int rowBytes(Wire wire, int width) {
    return switch (wire) {
      case FP32 -> 4 * width;
      case BF16 -> 2 * width;
      case FP8 -> width + Fp8Tensor.scalesPerRow(width);
    };
  }

  /** A rank whose frames of one kind reach the others changed. */
  private static Communicator changing(
      Communicator end, FrameKind kind, Consumer<ByteBuffer> change) {
    return (Communicator)
        Proxy.newProxyInstance(
            ExchangeDispatcherTest.class.getClassLoader(),
            new Class<?>[] {Communicator.class},
            (proxy, method, args) -> {
              if (method.getName().equals("send") && ((FrameKey) args[1]).kind() == kind) {
                ByteBuffer[] parts = (ByteBuffer[]) args[2];
                ByteBuffer whole =
                    ByteBuffer.allocate(FrameCodec.payloadBytes((FrameKey) args[1], parts))
                        .order(ByteOrder.LITTLE_ENDIAN);
                FrameCodec.copy(whole, parts);
                change.accept(whole.flip());
                end.send((int) args[0], (FrameKey) args[1], whole);
                return null;
              }
              return method.invoke(end, args);
            });
  }

  private static List<Trip> tripsWith(FrameKind kind, Consumer<ByteBuffer> change)
      throws Exception {
    Batch batch = Batch.random(2, 4, 2, 3, 12);
    return RankThreads.run(
        2,
        end ->
            trip(
                end.rank() == 1 ? changing(end, kind, change) : end,
                batch,
                DType.F32,
                Wire.FP32,
                Wire.FP32));
  }

  @Test
  void pairsThatTheOwnerDidNotServeAreCounted() throws Exception {
    List<Trip> trips = tripsWith(FrameKind.COMBINE, frame -> frame.putInt(0, frame.getInt(0) - 2));
    assertThat(trips.get(0).dropped).isEqualTo(2);
    assertThat(trips.get(1).dropped).isZero();
  }

  @Test
  void aFrameThatContradictsItselfIsRefusedWithItsSender() {
    List<Consumer<ByteBuffer>> changes =
        List.of(
            frame -> frame.putInt(0, -1), // tokens
            frame -> frame.putInt(0, Integer.MAX_VALUE),
            frame -> frame.putInt(0, frame.getInt(0) + 1),
            frame -> frame.putInt(4, 0), // pairs
            frame -> frame.putInt(4, Integer.MAX_VALUE),
            frame -> frame.putShort(8, (short) 0), // experts of token 0
            frame -> frame.putShort(8, (short) -1),
            frame ->
                frame.putShort(8 + 2 * frame.getInt(0), (short) 2), // first local expert, of two
            frame -> frame.limit(frame.limit() - 1),
            frame -> frame.limit(5));
    for (int i = 0; i < changes.size(); i++) {
      int number = i;
      assertThatThrownBy(() -> tripsWith(FrameKind.DISPATCH, changes.get(number)))
          .as("change %d", i)
          .isInstanceOf(CorruptFrameException.class)
          .hasMessageContaining("rank 1")
          .hasMessageContaining("dispatch of step 1, part 0, layer 2");
    }
    for (FrameKind kind :
        List.of(FrameKind.COMBINE, FrameKind.COMBINE_BACKWARD, FrameKind.DISPATCH_BACKWARD)) {
      assertThatThrownBy(() -> tripsWith(kind, frame -> frame.limit(frame.limit() - 1)))
          .isInstanceOf(CorruptFrameException.class)
          .hasMessageContaining(kind.label() + " of step 1");
    }
    assertThatThrownBy(
            () -> tripsWith(FrameKind.COMBINE, frame -> frame.putInt(0, Integer.MAX_VALUE)))
        .isInstanceOf(CorruptFrameException.class)
        .hasMessageContaining("acknowledgement");
  }

  @Test
  void expertIdsOutOfOrderOrRangeAreRefused() {
    for (int[] ids : new int[][] {{2, 1}, {1, 1}, {-1, 2}, {0, 4}}) {
      Batch batch = Batch.random(1, 4, 2, 3, 2);
      batch.ids[1] = ids;
      assertThatThrownBy(() -> trips(1, batch, DType.F32, Wire.FP32, Wire.FP32))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("token 1 has");
    }
  }

  @Test
  void aPlacementForAnotherNumberOfRanksIsRefused() {
    try (LocalCommunicator.Group group = LocalCommunicator.group(2, Duration.ofSeconds(1))) {
      assertThatThrownBy(
              () ->
                  new ExchangeDispatcher(
                      group.rank(0),
                      new ExpertPlacement(4, 3),
                      new ReferenceKernels(),
                      Wire.FP32,
                      Wire.FP32))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("experts are placed on 3 ranks, the communicator has 2");
    }
  }
}
