package io.sparkmoe.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class Fp8FormatTest {

  @ParameterizedTest
  @EnumSource
  void everyCodeSurvivesDecodingAndEncoding(Fp8Format format) {
    for (int code = 0; code < 256; code++) {
      float value = format.decode((byte) code);
      int back = format.encode(value) & 0xFF;
      if (Float.isFinite(value)) {
        assertThat(back).as("code %d, value %s", code, value).isEqualTo(code);
      } else if (Float.isInfinite(value)) {
        assertThat(format.decode((byte) back)).isEqualTo(Math.copySign(format.largest(), value));
      } else {
        assertThat(format.decode((byte) back)).isNaN();
      }
    }
  }

  // Law: the code is that of the nearest value; half way between two, the one whose code is even.
  @ParameterizedTest
  @EnumSource
  void encodingRoundsToNearestAndTiesToEven(Fp8Format format) {
    for (int code = 0; format.decode((byte) (code + 1)) <= format.largest(); code++) {
      float low = format.decode((byte) code);
      float high = format.decode((byte) (code + 1));
      float middle = low + (high - low) / 2;
      int even = (code & 1) == 0 ? code : code + 1;
      assertThat(format.encode(middle)).as("%s", middle).isEqualTo((byte) even);
      assertThat(format.encode(-middle)).as("%s", -middle).isEqualTo((byte) (even | 0x80));
      assertThat(format.encode(Math.nextDown(middle))).isEqualTo((byte) code);
      assertThat(format.encode(Math.nextUp(middle))).isEqualTo((byte) (code + 1));
    }
  }

  @ParameterizedTest
  @EnumSource
  void whatIsTooLargeSaturatesAndNanStaysNan(Fp8Format format) {
    for (float value :
        new float[] {
          Math.nextUp(format.largest()), 1e30f, Float.MAX_VALUE, Float.POSITIVE_INFINITY
        }) {
      assertThat(format.decode(format.encode(value))).isEqualTo(format.largest());
      assertThat(format.decode(format.encode(-value))).isEqualTo(-format.largest());
    }
    assertThat(format.encode(Float.NaN)).isEqualTo((byte) 0x7F);
    assertThat(format.encode(Float.intBitsToFloat(0xFFC00001))).isEqualTo((byte) 0xFF);
    assertThat(format.decode((byte) 0x7F)).isNaN();
    assertThat(format.encode(Float.MIN_VALUE)).isEqualTo((byte) 0);
    assertThat(format.encode(-0f)).isEqualTo((byte) 0x80);
  }

  @Test
  void bfloat16RoundsTiesToEvenAndKeepsNan() {
    assertThat(Bfloat16.decode(Bfloat16.encode(1 + 0x1p-8f))).isEqualTo(1f);
    assertThat(Bfloat16.decode(Bfloat16.encode(1 + 3 * 0x1p-8f))).isEqualTo(1 + 0x1p-6f);
    assertThat(Bfloat16.decode(Bfloat16.encode(Math.nextUp(1 + 0x1p-8f)))).isEqualTo(1 + 0x1p-7f);
    assertThat(Bfloat16.decode(Bfloat16.encode(Float.MAX_VALUE)))
        .isEqualTo(Float.POSITIVE_INFINITY);
    assertThat(Bfloat16.decode(Bfloat16.encode(Float.intBitsToFloat(0x7F800001)))).isNaN();
    for (int bits = 0; bits < 1 << 16; bits++) {
      float value = Bfloat16.decode((short) bits);
      if (value == value) {
        assertThat(Bfloat16.encode(value)).isEqualTo((short) bits);
      }
    }
  }
}
