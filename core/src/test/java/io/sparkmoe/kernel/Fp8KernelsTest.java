package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.tensor.Bfloat16;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.PowerOfTwoScale;
import io.sparkmoe.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Rounding to FP8. Legend: T rows, N columns, G groups of rows. */
class Fp8KernelsTest {

  private static final Fp8Scaling TILES = new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.TILE_1X128);

  /** Values that meet every path of an encoder. */
  private static final float[] SPECIAL = {
    0f,
    -0f,
    Float.MIN_VALUE,
    -0x1p-130f,
    Float.MIN_NORMAL,
    1e-38f,
    -1e-30f,
    448f,
    449f,
    -0x1.7p-7f,
    0x1.8p-10f,
    0x1p-10f,
    Float.MAX_VALUE,
    -Float.MAX_VALUE
  };

  private final KernelTwins twins = new KernelTwins();

  @AfterEach
  void close() {
    twins.close();
  }

  /** What a tensor is filled with, row by row in turn. */
  private Tensor rows(int rows, int n) {
    Tensor x = twins.mixed(rows, n);
    for (int row = 0; row < rows; row++) {
      for (int i = 0; i < n; i++) {
        int at = row * n + i;
        float value = x.getFloat(at);
        x.setFloat(
            at,
            switch (row % 7) {
              case 0 -> value;
              case 1 -> 0;
              case 2 -> value * 1e-40f;
              case 3 -> SPECIAL[twins.random().nextInt(SPECIAL.length)];
              case 4 -> i % 11 == 5 ? Float.NEGATIVE_INFINITY : i % 13 == 2 ? Float.NaN : value;
              case 5 -> (float) (value * Math.exp(12 * twins.random().nextGaussian()));
              default -> value * 1e30f;
            });
      }
    }
    return x;
  }

  // Law: both twins write the same bits, whatever the size, the values and the threads.
  @ParameterizedTest
  @EnumSource
  void twinsWriteTheSameBits(Fp8Granularity granularity) {
    for (Fp8Format format : Fp8Format.values()) {
      Fp8Scaling scaling = new Fp8Scaling(format, granularity);
      // The formats differ in constants only, so the second need not meet every size again.
      for (int n : format == Fp8Format.E4M3 ? KernelTwins.SIZES : new int[] {13, 207}) {
        // Many rows where they are short: two and a bit of the tallest tile.
        for (int rows : n > 207 ? new int[] {1, 5} : new int[] {1, 5, 261}) {
          int[] groups = {0, 0, rows / 3, rows / 3 + 1, rows};
          for (int[] rowStarts : new int[][] {null, rows < 5 ? null : groups}) {
            String name = scaling + " of " + rows + "x" + n;
            Tensor x = rows(rows, n);
            Tensor operand = twins.unwritten(DType.BF16, rows, n);
            for (Tensor written : List.of(operand, twins.unwritten(rows, n))) {
              twins.sameBits(
                  name + " to " + written.type(),
                  (k, t) -> k.quantize(t[0], null, t[1], rowStarts, scaling, null),
                  written,
                  x);
            }
            if (granularity != Fp8Granularity.TILE_128X1) {
              twins.sameBits(
                  name + " with codes",
                  (k, t) ->
                      k.quantize(t[0], new Fp8Tensor(t[1], t[2]), t[3], rowStarts, scaling, null),
                  operand,
                  twins.unwritten(format.type(), rows, n),
                  twins.unwritten(DType.U8, rows, Fp8Tensor.scalesPerRow(n)),
                  x);
            }
          }
        }
      }
    }
  }

  // Law: twins agree on what they read back and on what they round a second time.
  @ParameterizedTest
  @EnumSource
  void twinsReadAndRequantiseAlike(Fp8Format format) {
    Fp8Scaling kept = new Fp8Scaling(format, Fp8Granularity.TILE_1X128);
    Fp8Scaling columns = new Fp8Scaling(format, Fp8Granularity.TILE_128X1);
    for (int n : format == Fp8Format.E4M3 ? new int[] {1, 64, 207, 256} : new int[] {13}) {
      int rows = 150;
      int[] rowStarts = {0, 3, 3, 141, 150};
      Tensor codes = twins.unwritten(format.type(), rows, n);
      Tensor scales = twins.unwritten(DType.U8, rows, Fp8Tensor.scalesPerRow(n));
      new ReferenceKernels()
          .quantize(null, new Fp8Tensor(codes, scales), rows(rows, n), null, kept, null);
      Tensor bf16 = twins.unwritten(DType.BF16, rows, n);
      for (DType type : new DType[] {DType.F32, DType.BF16}) {
        twins.sameBits(
            "dequantise " + format + " of " + n + " columns to " + type,
            (k, t) -> k.dequantize(t[0], new Fp8Tensor(t[1], t[2])),
            twins.unwritten(type, rows, n),
            codes,
            scales);
      }
      new ReferenceKernels().dequantize(bf16, new Fp8Tensor(codes, scales));
      for (DType type : new DType[] {DType.F32, DType.BF16}) {
        twins.sameBits(
            "requantise " + format + " of " + n + " columns to " + type,
            (k, t) -> k.requantize(t[0], new Fp8Tensor(t[1], t[2]), rowStarts, columns, null),
            twins.unwritten(type, rows, n),
            codes,
            scales);
      }
      twins.sameBits(
          "requantise BF16 of " + n + " columns",
          (k, t) -> k.quantize(t[0], null, t[1], rowStarts, columns, null),
          twins.unwritten(DType.BF16, rows, n),
          bf16);
    }
  }

  // Law: with power-of-two scales an FP8 value is a BF16 number, so the operand loses nothing.
  @ParameterizedTest
  @EnumSource
  void theOperandIsExactlyWhatTheCodesStandFor(Fp8Format format) {
    Fp8Scaling scaling = new Fp8Scaling(format, Fp8Granularity.TILE_1X128);
    int n = 702;
    Tensor x = twins.mixed(9, n);
    for (int i = 0; i < x.size(); i++) {
      x.setFloat(i, (float) (x.get(i) * Math.pow(10, 4 * (i / n) - 16)));
    }
    Tensor operand = twins.unwritten(DType.BF16, 9, n);
    Tensor inF32 = twins.unwritten(9, n);
    Fp8Tensor kept =
        new Fp8Tensor(twins.unwritten(format.type(), 9, n), twins.unwritten(DType.U8, 9, 6));
    new ReferenceKernels().quantize(operand, kept, x, null, scaling, null);
    new ReferenceKernels().quantize(inF32, null, x, null, scaling, null);
    for (int i = 0; i < x.size(); i++) {
      byte scale = kept.scales().bytes().get(i / n * 6 + i % n / 128);
      float value = (float) kept.codes().get(i) * PowerOfTwoScale.value(scale);
      assertThat(Bfloat16.decode(Bfloat16.encode(value))).isEqualTo(value);
      assertThat((float) operand.get(i)).isEqualTo(value);
      assertThat(inF32.getFloat(i)).isEqualTo(value);
      // Half of the last of the mantissa's bits, or half of the smallest step of the tile.
      double step = format == Fp8Format.E4M3 ? 0x1p-4 : 0x1p-3;
      double least = Math.max(step * Math.abs(x.get(i)), PowerOfTwoScale.value(scale) * 0x1p-10);
      assertThat(Math.abs(value - x.get(i))).isLessThanOrEqualTo(least);
    }
  }

  // Law: a weight gradient on tiles of 128 rows equals the same tiles of the transposed tensor.
  @Test
  void tilesOfRowsAreThoseOfTheTransposedTensor() {
    int rows = 300;
    int n = 45;
    Tensor x = rows(rows, n);
    Tensor transposed = twins.unwritten(n, rows);
    for (int i = 0; i < x.size(); i++) {
      transposed.setFloat(i % n * rows + i / n, x.getFloat(i));
    }
    Tensor along = twins.unwritten(DType.BF16, rows, n);
    Tensor across = twins.unwritten(DType.BF16, n, rows);
    Kernels kernels = new ReferenceKernels();
    kernels.quantize(
        along, null, x, null, new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.TILE_128X1), null);
    kernels.quantize(across, null, transposed, null, TILES, null);
    for (int i = 0; i < x.size(); i++) {
      // Double.equals: NaN is where NaN is.
      assertThat(along.get(i)).isEqualTo(Double.valueOf(across.get(i % n * rows + i / n)));
    }
  }

  // Law: an expert's weight has the same blocks alone and among others, and its transpose the same.
  @Test
  void blocksBelongToOneMatrix() {
    Fp8Scaling blocks = new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.BLOCK_128X128);
    Tensor w = twins.mixed(3, 150, 140);
    Tensor all = twins.unwritten(DType.BF16, 3, 150, 140);
    Kernels kernels = new ReferenceKernels();
    kernels.quantize(all, null, w, null, blocks, null);
    for (int e = 0; e < 3; e++) {
      Tensor one = twins.unwritten(DType.BF16, 150, 140);
      kernels.quantize(one, null, w.view(e * 150 * 140, 150, 140), null, blocks, null);
      assertThat(one.bytes()).isEqualTo(all.view(e * 150 * 140, 150, 140).bytes());
      Tensor flipped = twins.unwritten(140, 150);
      for (int i = 0; i < flipped.size(); i++) {
        flipped.setFloat(i, w.getFloat(e * 150 * 140 + i % 150 * 140 + i / 150));
      }
      Tensor back = twins.unwritten(DType.BF16, 140, 150);
      kernels.quantize(back, null, flipped, null, blocks, null);
      for (int i = 0; i < back.size(); i++) {
        assertThat(back.get(i)).isEqualTo(one.get(i % 150 * 140 + i / 150));
      }
    }
  }

  @Test
  void rowsOutsideAllGroupsAreLeftAlone() {
    for (Fp8Granularity granularity : Fp8Granularity.values()) {
      twins.sameBits(
          "rows 2 to 4 of 6",
          (k, t) ->
              k.quantize(
                  t[0],
                  null,
                  t[1],
                  new int[] {2, 4},
                  new Fp8Scaling(Fp8Format.E4M3, granularity),
                  null),
          twins.unwritten(DType.BF16, 6, 33),
          rows(6, 33));
    }
  }

  @Test
  void statisticsCountWhatWasLost() {
    Tensor x = twins.filled(KernelTwins.Fill.ZERO, 2, 130);
    x.setFloat(0, 448);
    x.setFloat(1, 0x1p-11f);
    x.setFloat(2, -0x1p-9f);
    x.setFloat(129, Float.POSITIVE_INFINITY);
    x.setFloat(131, -500);
    for (Kernels kernels : twins.both()) {
      Fp8Statistics statistics = new Fp8Statistics();
      Tensor operand = twins.unwritten(DType.BF16, 2, 130);
      kernels.quantize(operand, null, x, null, TILES, statistics);
      assertThat(statistics.values()).isEqualTo(260);
      assertThat(statistics.underflowed()).isEqualTo(1);
      assertThat(statistics.saturated()).isEqualTo(1);
      assertThat(statistics.largest()).isEqualTo(500);
      Fp8Tensor kept = Fp8Tensor.allocate(twins.scope(), Fp8Format.E4M3, 2, 130);
      kernels.quantize(null, kept, x, null, TILES, statistics);
      assertThat(statistics.underflowed()).isEqualTo(2);
    }
  }

  @Test
  void whatCannotBeKeptIsRefused() {
    Tensor x = twins.mixed(2, 130);
    Fp8Tensor kept = Fp8Tensor.allocate(twins.scope(), Fp8Format.E4M3, 2, 130);
    for (Kernels kernels : twins.both()) {
      assertThatThrownBy(
              () ->
                  kernels.quantize(
                      null,
                      kept,
                      x,
                      null,
                      new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.TILE_128X1),
                      null))
          .hasMessageContaining("keep 1x128 tiles and requantise them");
      assertThatThrownBy(() -> kernels.quantize(null, null, x, null, TILES, null))
          .hasMessageContaining("must have an operand or codes to write, got neither");
      assertThatThrownBy(
              () ->
                  kernels.quantize(
                      null,
                      kept,
                      x,
                      null,
                      new Fp8Scaling(Fp8Format.E5M2, Fp8Granularity.TILE_1X128),
                      null))
          .hasMessage("tensor F8_E4M3[2, 130] must be of type F8_E5M2");
    }
  }
}
