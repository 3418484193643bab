package io.sparkmoe.report;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class QuantityTest {

  @Test
  void bytesKeepTwoDigits() {
    assertThat(Quantity.bytes(0)).isEqualTo("0 B");
    assertThat(Quantity.bytes(999)).isEqualTo("999 B");
    assertThat(Quantity.bytes(1000)).isEqualTo("1.0 kB");
    assertThat(Quantity.bytes(9_940)).isEqualTo("9.9 kB");
    assertThat(Quantity.bytes(9_960)).isEqualTo("10 kB");
    assertThat(Quantity.bytes(999_600)).isEqualTo("1.0 MB");
    assertThat(Quantity.bytes(3.2e18)).isEqualTo("3200 PB");
  }

  @Test
  void durationsGrowCoarser() {
    assertThat(Quantity.duration(0.04)).isEqualTo("0.0 s");
    assertThat(Quantity.duration(9.94)).isEqualTo("9.9 s");
    assertThat(Quantity.duration(59.4)).isEqualTo("59 s");
    assertThat(Quantity.duration(59.6)).isEqualTo("1 min 00 s");
    assertThat(Quantity.duration(7505)).isEqualTo("2 h 05 min");
    assertThat(Quantity.clock(7507)).isEqualTo("2:05:07");
    assertThat(Quantity.clock(59.6)).isEqualTo("1:00");
  }

  @Test
  void barsAreExactToAnEighth() {
    assertThat(Quantity.bar(1, 4)).isEqualTo("████");
    assertThat(Quantity.bar(0.5, 4)).isEqualTo("██");
    assertThat(Quantity.bar(1 / 32.0, 4)).isEqualTo("▏");
    assertThat(Quantity.bar(7 / 32.0, 4)).isEqualTo("▉");
    assertThat(Quantity.bar(2, 4)).isEqualTo("████");
    assertThat(Quantity.bar(0, 4)).isEmpty();
  }

  @Test
  void percentsKeepTwoDigits() {
    assertThat(Quantity.percent(0.0123)).isEqualTo("1.2 %");
    assertThat(Quantity.percent(0.0994)).isEqualTo("9.9 %");
    assertThat(Quantity.percent(0.0996)).isEqualTo("10 %");
    assertThat(Quantity.percent(1)).isEqualTo("100 %");
  }
}
