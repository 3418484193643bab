package io.sparkmoe.moe;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

class LoadBalancerTest {

  @Test
  @DisplayName("overloaded experts sink, idle ones rise, and the mean of the biases stays")
  void movesAgainstTheLoad() {
    try (Arena arena = new Arena("test", 1 << 16);
        Tensor bias = arena.allocate(DType.F32, 4)) {
      bias.copyFrom(0.5f, -0.5f, 0.25f, -0.25f);
      LoadBalancer.update(bias, new long[] {9, 1, 1, 1}, 0.01);
      // Deltas -0.01, +0.01, +0.01, +0.01 have mean 0.005.
      assertThat(bias.get(0)).isCloseTo(0.485, within(1e-7));
      assertThat(bias.get(1)).isCloseTo(-0.495, within(1e-7));
      double sum = bias.get(0) + bias.get(1) + bias.get(2) + bias.get(3);
      assertThat(sum).isCloseTo(0, within(1e-7));
    }
  }

  @Test
  @DisplayName("a perfectly balanced load changes nothing")
  void balancedLoadIsAFixedPoint() {
    try (Arena arena = new Arena("test", 1 << 16);
        Tensor bias = arena.zeros(DType.F32, 3)) {
      LoadBalancer.update(bias, new long[] {5, 5, 5}, 0.01);
      assertThat(bias.toFloatArray()).containsExactly(0f, 0f, 0f);
    }
  }

  @Test
  @DisplayName("load figures count the busiest and the idle experts")
  void figures() {
    assertThat(LoadBalancer.maxOverMean(new long[] {2, 2, 2, 2})).isEqualTo(1.0);
    assertThat(LoadBalancer.maxOverMean(new long[] {0, 0, 0, 8})).isEqualTo(4.0);
    assertThat(LoadBalancer.deadExperts(new long[] {0, 3, 0, 8})).isEqualTo(2);
  }
}
