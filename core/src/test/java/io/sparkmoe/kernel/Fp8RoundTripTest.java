package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.Bfloat16;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.PowerOfTwoScale;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a trip through E4M3 codes in tiles of 128 keeps of a row. */
class Fp8RoundTripTest {

  private static final int TILE = Fp8Granularity.SCALE_COLUMNS;

  private static final long SEED = Long.getLong("moe.seed", 42);

  private static float[] trip(float... row) {
    Fp8Scaling tiles = new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.TILE_1X128);
    try (ComputeEngine engine = ComputeEngine.open("trip", "reference", 1);
        Arena arena = new Arena("trip", 1 << 20);
        Scope scope = arena.scope()) {
      Tensor values = scope.allocate(DType.F32, 1, row.length);
      values.copyFrom(row);
      Fp8Tensor kept = Fp8Tensor.allocate(scope, Fp8Format.E4M3, 1, row.length);
      engine.kernels().quantize(null, kept, values, null, tiles, null);
      engine.kernels().dequantize(values, kept);
      return values.toFloatArray();
    }
  }

  private static float[] gaussian(int columns, double scale) {
    Random random = new Random(SEED);
    float[] row = new float[columns];
    for (int i = 0; i < columns; i++) {
      row[i] = (float) (scale * random.nextGaussian());
    }
    return row;
  }

  // Half a step of three mantissa bits is 2^-4 of the value; below the normal range, half of 2^-9
  // of
  // the scale, which is at most 2/448 of the tile's largest value.
  @ParameterizedTest
  @ValueSource(ints = {1, 3, 7, 13, 64, 127, 128, 129, 207, 702, 1025})
  void aTripLosesAtMostHalfAStepAtAnyMagnitude(int columns) {
    for (double scale : new double[] {1e-30, 1e-9, 1, 1e9, 1e30}) {
      float[] row = gaussian(columns, scale);
      float[] back = trip(row);
      for (int start = 0; start < columns; start += TILE) {
        int end = Math.min(columns, start + TILE);
        float largest = 0;
        for (int i = start; i < end; i++) {
          largest = Math.max(largest, Math.abs(row[i]));
        }
        for (int i = start; i < end; i++) {
          double bound = Math.max(Math.abs(row[i]) * 0x1p-4, largest * 2.0 / 448 * 0x1p-10);
          assertThat(Math.abs(back[i] - row[i]))
              .as("seed %d, value %s", SEED, row[i])
              .isLessThanOrEqualTo((float) bound);
        }
      }
    }
  }

  // Law: what was rounded once is not rounded again, so a value may cross several wires.
  @Test
  void aSecondTripChangesNothing() {
    float[] once = trip(gaussian(702, 0.37));
    assertThat(trip(once)).isEqualTo(once);
  }

  // Law: with power-of-two scales, E4M3 values are BF16 numbers.
  @Test
  void dequantisedValuesAreExactInBfloat16() {
    for (float value : trip(gaussian(1025, 1e-3))) {
      assertThat(Bfloat16.decode(Bfloat16.encode(value))).isEqualTo(value);
    }
  }

  @Test
  void zerosStayZerosAndWhatIsNotFiniteBecomesNanAlone() {
    assertThat(trip(0f, -0f, 0f)).containsExactly(0f, -0f, 0f);
    float[] row = gaussian(300, 1);
    float[] clean = trip(row);
    row[5] = Float.NaN;
    row[200] = Float.NEGATIVE_INFINITY;
    float[] back = trip(row);
    for (int i = 0; i < row.length; i++) {
      if (i == 5 || i == 200) {
        assertThat(back[i]).isNaN();
      } else if (i > 5 && i < 128 || i >= 256) {
        assertThat(back[i]).isEqualTo(clean[i]);
      }
    }
  }

  @Test
  void scalesAreTheSmallestPowerOfTwoThatFits() {
    for (int exponent = -100; exponent < 100; exponent++) {
      float power = Math.scalb(1f, exponent);
      float atLimit = power * Fp8Format.E4M3.largest();
      assertThat(PowerOfTwoScale.value(PowerOfTwoScale.of(atLimit, Fp8Format.E4M3)))
          .isEqualTo(power);
      assertThat(PowerOfTwoScale.value(PowerOfTwoScale.of(Math.nextUp(atLimit), Fp8Format.E4M3)))
          .isEqualTo(2 * power);
      byte scale = PowerOfTwoScale.of(atLimit, Fp8Format.E4M3);
      assertThat(PowerOfTwoScale.reciprocal(scale) * PowerOfTwoScale.value(scale)).isEqualTo(1f);
    }
    assertThat(PowerOfTwoScale.value(PowerOfTwoScale.of(0f, Fp8Format.E4M3))).isEqualTo(1f);
    assertThat(PowerOfTwoScale.value(PowerOfTwoScale.of(Float.MIN_VALUE, Fp8Format.E4M3)))
        .isEqualTo(0x1p-126f);
    assertThat(PowerOfTwoScale.value(PowerOfTwoScale.of(Float.MAX_VALUE, Fp8Format.E4M3)))
        .isEqualTo(0x1p120f);
  }
}
