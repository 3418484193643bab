package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.kernel.KernelTwins.Fill;
import io.sparkmoe.tensor.Tensor;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** B sequences, H heads, S tokens, N and R channels without and with position, V value channels. */
class AttentionKernelsTest {

  /**
   * Sizes (B, H, S, N, R, V): a single token, odd ones, several query blocks, several key strips.
   */
  private static final int[][] SHAPES = {
    {1, 1, 1, 1, 2, 1},
    {2, 3, 7, 5, 4, 3},
    {1, 2, 64, 16, 8, 16},
    {2, 1, 207, 32, 16, 32},
    {1, 1, 330, 24, 8, 20}
  };

  private final KernelTwins twins = new KernelTwins();

  @AfterEach
  void close() {
    twins.close();
  }

  @Test
  void queriesAndKeysAreAssembledAndTakenApart() {
    for (int[] z : SHAPES) {
      int tokens = z[0] * z[2];
      Tensor cos = twins.mixed(z[2], z[4] / 2);
      Tensor sin = twins.mixed(z[2], z[4] / 2);
      Tensor query = twins.mixed(z[0], z[1], z[2], z[3] + z[4]);
      Tensor value = twins.mixed(z[0], z[1], z[2], z[5]);
      Tensor q = twins.mixed(tokens, z[1] * (z[3] + z[4]));
      Tensor kv = twins.mixed(tokens, z[1] * (z[3] + z[5]));
      Tensor rope = twins.mixed(tokens, z[4]);
      twins.agree(
          "assembleQuery",
          2,
          (k, t) -> k.assembleQuery(t[0], t[1], t[2], t[3]),
          twins.unwritten(query.shape()),
          q,
          cos,
          sin);
      twins.agree(
          "assembleQueryBackward",
          2,
          (k, t) -> k.assembleQueryBackward(t[0], t[1], t[2], t[3]),
          twins.unwritten(q.shape()),
          query,
          cos,
          sin);
      twins.agree(
          "assembleKeyValue",
          2,
          (k, t) -> k.assembleKeyValue(t[0], t[1], t[2], t[3], t[4], t[5]),
          twins.unwritten(query.shape()),
          twins.unwritten(value.shape()),
          kv,
          rope,
          cos,
          sin);
      twins.agree(
          "assembleKeyValueBackward",
          z[1],
          (k, t) -> k.assembleKeyValueBackward(t[0], t[1], t[2], t[3], t[4], t[5]),
          twins.unwritten(kv.shape()),
          twins.unwritten(rope.shape()),
          query,
          value,
          cos,
          sin);
    }
  }

  @Test
  void rotaryPairsAreInterleaved() {
    Tensor query = twins.unwritten(1, 1, 1, 5);
    Tensor q = twins.unwritten(1, 5);
    q.copyFrom(9, 1, 2, 3, 4);
    Tensor cos = twins.filled(Fill.ZERO, 1, 2);
    Tensor sin = twins.unwritten(1, 2);
    sin.copyFrom(1, 1);
    new ReferenceKernels().assembleQuery(query, q, cos, sin);
    // A quarter turn: (a, b) -> (-b, a) on (1, 2) and (3, 4).
    assertThat(query.toFloatArray()).containsExactly(9, -2, 1, -4, 3);
  }

  // Law: a matrix library that compiles each shape of products compiles few, whatever the length.
  @Test
  void aLongerSequenceNeedsNoMoreShapesOfProducts() {
    Set<List<Object>> few = shapes(1024);
    assertThat(shapes(2048)).hasSameSizeAs(few);
    assertThat(few).hasSizeLessThan(40);
    assertThat(shapes(1000, 1024).size()).isLessThan(shapes(1000).size() + few.size());
  }

  /** Of the forward and backward of one head over sequences of those lengths. */
  private Set<List<Object>> shapes(int... lengths) {
    try (RecordingGemm gemm = new RecordingGemm();
        Parallel parallel = new ThreadPoolParallel("test", 1)) {
      VectorAttention attention = new VectorAttention(gemm, parallel);
      for (int s : lengths) {
        Tensor query = twins.mixed(1, 1, s, 4);
        Tensor key = twins.mixed(1, 1, s, 4);
        Tensor value = twins.mixed(1, 1, s, 6);
        Tensor out = twins.unwritten(s, 6);
        Tensor logSumExp = twins.unwritten(1, 1, s);
        attention.forward(out, logSumExp, query, key, value, 0.5);
        attention.backward(
            twins.unwritten(query.shape()),
            twins.unwritten(key.shape()),
            twins.unwritten(value.shape()),
            twins.mixed(out.shape()),
            out,
            logSumExp,
            query,
            key,
            value,
            0.5);
      }
      return gemm.shapes;
    }
  }

  @Test
  void attentionAndItsBackward() {
    for (int[] z : SHAPES) {
      for (Fill fill : EnumSet.of(Fill.ZERO, Fill.LARGE, Fill.MIXED)) {
        int channels = z[3] + z[4];
        double scale = 1 / Math.sqrt(channels);
        Tensor query = twins.filled(fill, z[0], z[1], z[2], channels);
        // Keys differ even beside large queries: equal ones would make every true gradient of a
        // query zero.
        Tensor key =
            fill == Fill.ZERO ? twins.filled(fill, query.shape()) : twins.mixed(query.shape());
        Tensor value = twins.mixed(z[0], z[1], z[2], z[5]);
        Tensor out = twins.unwritten(z[0] * z[2], z[1] * z[5]);
        Tensor logSumExp = twins.unwritten(z[0], z[1], z[2]);
        // The rounding of a score is an error of its exponential, and scores of large queries reach
        // hundreds.
        int length = (fill == Fill.LARGE ? 1000 : 8) * (channels + z[2]);
        twins.agree(
            "attention",
            length,
            (k, t) -> k.attention(t[0], t[1], t[2], t[3], t[4], scale),
            out,
            logSumExp,
            query,
            key,
            value);
        new ReferenceKernels().attention(out, logSumExp, query, key, value, scale);
        twins.agree(
            "attentionBackward",
            length,
            (k, t) ->
                k.attentionBackward(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], scale),
            twins.unwritten(query.shape()),
            twins.unwritten(key.shape()),
            twins.unwritten(value.shape()),
            twins.mixed(out.shape()),
            out,
            logSumExp,
            query,
            key,
            value);
      }
    }
  }

  /** Law: a query sees nothing behind it. */
  @Test
  void laterTokensChangeNoEarlierOutput() {
    Tensor query = twins.mixed(1, 1, 130, 8);
    Tensor key = twins.mixed(1, 1, 130, 8);
    Tensor value = twins.mixed(1, 1, 130, 4);
    Tensor before = twins.unwritten(130, 4);
    Tensor after = twins.unwritten(130, 4);
    Tensor logSumExp = twins.unwritten(1, 1, 130);
    try (Parallel parallel = new ThreadPoolParallel("test", 2)) {
      Kernels kernels = new VectorKernels(new ReferenceGemm(), parallel);
      kernels.attention(before, logSumExp, query, key, value, 0.3);
      for (int i = 0; i < 8; i++) {
        key.setFloat(100 * 8 + i, 50);
      }
      value.setFloat(100 * 4, 1e6f);
      kernels.attention(after, logSumExp, query, key, value, 0.3);
    }
    assertThat(after.view(0, 400).bytes()).isEqualTo(before.view(0, 400).bytes());
    assertThat(after.getFloat(400)).isNotEqualTo(before.getFloat(400));
  }

  /** Law: equal keys give the mean of the values so far. */
  @Test
  void equalKeysAverageTheValues() {
    Tensor value = twins.mixed(1, 1, 65, 1);
    Tensor out = twins.unwritten(65, 1);
    Tensor query = twins.mixed(1, 1, 65, 4);
    new ReferenceKernels()
        .attention(
            out, twins.unwritten(1, 1, 65), query, twins.filled(Fill.LARGE, 1, 1, 65, 4), value, 1);
    double sum = 0;
    for (int s = 0; s < 65; s++) {
      sum += value.get(s);
      assertThat(out.get(s)).isCloseTo(sum / (s + 1), within(1e-6));
    }
  }
}
