package io.sparkmoe.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

/**
 * Figures of DeepSeek-V3's rotary embedding: 64 rotary of 192 channels, base 10,000, 40 times 4,096
 * positions.
 */
class RotaryAnglesTest {

  private static RotaryAngles angles(Map<String, Object> rope) {
    Map<String, Object> changes = new HashMap<>();
    changes.put("qk_nope_head_dim", 128);
    changes.put("qk_rope_head_dim", 64);
    changes.put("rope_parameters", rope);
    return new RotaryAngles(TinyModel.config(changes));
  }

  private static Map<String, Object> yarn(double mscale, double mscaleAllDim) {
    return Map.of(
        "factor",
        40.0,
        "mscale",
        mscale,
        "mscale_all_dim",
        mscaleAllDim,
        "original_max_position_embeddings",
        4096);
  }

  @Test
  void plainAnglesFallGeometrically() {
    RotaryAngles plain = angles(null);
    assertThat(plain.softmaxScale()).isCloseTo(0.0721688, within(1e-7));
    assertThat(plain.tableFactor()).isEqualTo(1);
    assertThat(plain.frequencies()).hasSize(32);
    assertThat(plain.frequencies()[0]).isEqualTo(1);
    assertThat(plain.frequencies()[16]).isCloseTo(0.01f, within(1e-8f));
  }

  /** The ramp runs from pair 10 to pair 23: fast pairs stay, slow pairs turn 40 times slower. */
  @Test
  void yarnSlowsTheSlowPairsOnly() {
    float[] plain = angles(null).frequencies();
    float[] scaled = angles(yarn(1, 1)).frequencies();
    for (int pair = 0; pair < 32; pair++) {
      double ramp = Math.min(Math.max((pair - 10) / 13.0, 0), 1);
      assertThat(scaled[pair] / plain[pair])
          .as("pair %d", pair)
          .isCloseTo((float) (1 - ramp * 39 / 40), within(1e-6f));
    }
  }

  @Test
  void temperaturesGoToTheSoftmaxScaleAndTheirRatioToTheTables() {
    assertThat(angles(yarn(1, 1)).softmaxScale()).isCloseTo(0.1352338, within(1e-7));
    assertThat(angles(yarn(1, 1)).tableFactor()).isEqualTo(1);
    double ratio = (0.0707 * Math.log(40) + 1) / (0.1 * Math.log(40) + 1);
    assertThat(angles(yarn(0.707, 1)).tableFactor()).isCloseTo(ratio, within(1e-12));
    assertThat(angles(yarn(0, 0)).softmaxScale()).isCloseTo(0.0721688, within(1e-7));
    assertThat(angles(yarn(0, 0)).tableFactor()).isCloseTo(1.3688879, within(1e-7));
  }

  /** Tables of every length agree where they overlap, whichever was asked for first. */
  @Test
  void shorterTablesAreTheBeginningOfLongerOnes() {
    RotaryAngles angles = angles(yarn(0.707, 1));
    try (Arena arena = new Arena("test", 1 << 20);
        Scope scope = arena.scope()) {
      Tensor[] tables = new Tensor[6];
      int[] lengths = {3, 7, 5};
      for (int i = 0; i < 3; i++) {
        tables[2 * i] = scope.allocate(DType.F32, lengths[i], 32);
        tables[2 * i + 1] = scope.allocate(DType.F32, lengths[i], 32);
        angles.write(tables[2 * i], tables[2 * i + 1]);
      }
      for (int i = 0; i < 6; i++) {
        Tensor longest = tables[2 + i % 2];
        for (int at = 0; at < tables[i].size(); at++) {
          assertThat(tables[i].getFloat(at)).isEqualTo(longest.getFloat(at));
        }
      }
      float angle = 6 * angles.frequencies()[1];
      assertThat(tables[2].getFloat(6 * 32 + 1))
          .isCloseTo((float) (Math.cos(angle) * angles.tableFactor()), within(1e-6f));
      assertThat(tables[3].getFloat(6 * 32 + 1))
          .isCloseTo((float) (Math.sin(angle) * angles.tableFactor()), within(1e-6f));
    }
  }
}
