package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.kernel.DecodeKernels.CachedRows;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Decode kernels beside products with panels, which {@link PanelMatrixTest} has. */
class DecodeKernelsTest {

  private final KernelTwins twins = new KernelTwins();

  @AfterEach
  void close() {
    twins.close();
  }

  /** Latent width, rotary channels, heads. */
  private static final int[][] SHAPES = {
    {1, 2, 1}, {16, 4, 3}, {33, 6, 2}, {64, 16, 4}, {80, 8, 5}
  };

  @Test
  void queriesTurnByTheAngleOfTheirRowAndLeaveTheOtherChannels() {
    for (int[] shape : SHAPES) {
      int r = shape[1];
      twins.agreeDecode(
          "rotate " + shape[0],
          1,
          (kernels, t) -> kernels.rotateTail(t[0], t[1], t[2], t[3]),
          twins.mixed(3, shape[2], shape[0] + r),
          twins.mixed(3, shape[2], 7 + r),
          twins.mixed(3, r / 2),
          twins.mixed(3, r / 2));
    }
  }

  @Test
  void entriesAreTheNormedLatentAndTheRotatedKey() {
    for (int[] shape : SHAPES) {
      int width = shape[0] + shape[1];
      twins.agreeDecode(
          "entries of latent " + shape[0],
          shape[0],
          (kernels, t) -> kernels.latentEntries(t[0], t[1], t[2], 1e-6, t[3], t[4]),
          twins.unwritten(5, width),
          twins.mixed(5, width),
          twins.mixed(shape[0]),
          twins.mixed(5, shape[1] / 2),
          twins.mixed(5, shape[1] / 2));
    }
  }

  /** Sequences of one and of many new rows, with and without a past, stand beside each other. */
  @Test
  void attentionSeesEveryEntryUpToItsOwn() {
    int[][] views = {{1, 1}, {9, 2}, {300, 70}, {17, 17}, {40, 15}, {64, 1}, {150, 2}, {203, 5}};
    for (int[] shape : SHAPES) {
      int width = shape[0] + shape[1];
      int rows = 0;
      Tensor[] tensors = new Tensor[2 + views.length];
      for (int s = 0; s < views.length; s++) {
        rows += views[s][1];
        tensors[2 + s] = twins.mixed(views[s][0] + 3, width);
      }
      tensors[0] = twins.unwritten(rows, shape[2], shape[0]);
      tensors[1] = twins.mixed(rows, shape[2], width);
      twins.agreeDecode(
          "attention over latent " + shape[0],
          300,
          (kernels, t) -> {
            CachedRows[] seen = new CachedRows[views.length];
            for (int s = 0; s < views.length; s++) {
              seen[s] = new CachedRows(t[2 + s], views[s][0], views[s][1]);
            }
            kernels.latentAttention(t[0], t[1], seen, 0.3);
          },
          tensors);
    }
  }

  // Law: a matrix library that compiles each shape of products compiles few, whatever the length.
  @Test
  void aLongerPromptNeedsNoMoreShapesOfProducts() {
    Set<List<Object>> few = shapes(1024);
    assertThat(shapes(2048)).hasSameSizeAs(few);
    assertThat(few).hasSizeLessThan(20);
  }

  private Set<List<Object>> shapes(int length) {
    try (RecordingGemm gemm = new RecordingGemm();
        Parallel parallel = new ThreadPoolParallel("test", 1)) {
      CachedRows prompt = new CachedRows(twins.mixed(length, 6), length, length);
      new VectorLatentAttention(gemm, parallel)
          .attention(
              twins.unwritten(length, 1, 4),
              twins.mixed(length, 1, 6),
              new CachedRows[] {prompt},
              0.3f);
      return gemm.shapes;
    }
  }

  @Test
  void distributionsOfARow() {
    for (int size : KernelTwins.SIZES) {
      twins.agreeDecode(
          "softmax of " + size,
          size,
          (kernels, t) -> {
            float[] p = new float[size];
            kernels.softmax(p, t[1], 1, size % 2 == 0 ? 0.7 : 1e-320);
            t[0].copyFrom(p);
            t[2].set(0, kernels.logSumExp(t[1], 2));
            t[2].set(1, kernels.argMax(t[1], 0, size));
          },
          twins.unwritten(size),
          twins.mixed(3, size),
          twins.unwritten(2));
    }
  }

  @Test
  void distributionsOfTheFirstElementsOfARowDoNotSeeTheOthers() {
    for (int size : KernelTwins.SIZES) {
      Tensor logits = twins.mixed(2, size + 5);
      logits.set(2 * size + 7, 50);
      twins.agreeDecode(
          "softmax of the first " + size,
          size,
          (kernels, t) -> {
            float[] p = new float[size];
            kernels.softmax(p, t[1], 1, 0.7);
            t[0].copyFrom(p);
            int best = kernels.argMax(t[1], 1, size);
            assertThat(best).isLessThan(size);
            t[2].set(0, best);
          },
          twins.unwritten(size),
          logits,
          twins.unwritten(1));
    }
  }

  @Test
  void theLowestIndexWinsAmongEqualLogits() {
    Tensor logits = twins.filled(KernelTwins.Fill.ZERO, 2, 40);
    logits.set(40 + 17, 3);
    logits.set(40 + 33, 3);
    twins.agreeDecode(
        "arg max",
        1,
        (kernels, t) -> {
          assertThat(kernels.argMax(t[0], 0, 40)).isZero();
          assertThat(kernels.argMax(t[0], 1, 40)).isEqualTo(17);
        },
        logits);
  }

  @Test
  void argumentsThatDoNotFitAreRefused() {
    DecodeKernels kernels = new ReferenceDecodeKernels();
    Tensor query = twins.mixed(2, 3, 10);
    Tensor context = twins.unwritten(2, 3, 8);
    assertThatThrownBy(
            () ->
                kernels.latentAttention(
                    context, query, new CachedRows[] {new CachedRows(twins.mixed(4, 10), 5, 2)}, 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("must be at least 5, got 4");
    assertThatThrownBy(
            () ->
                kernels.latentAttention(
                    context, query, new CachedRows[] {new CachedRows(twins.mixed(4, 10), 4, 1)}, 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("must be 1, got 2");
    assertThatThrownBy(() -> kernels.softmax(new float[10], query, 0, 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("temperature must be > 0, got 0.0");
    assertThat(query.type()).isEqualTo(DType.F32);
  }
}
