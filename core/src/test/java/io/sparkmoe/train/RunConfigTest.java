package io.sparkmoe.train;

import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.parallel.ClusterConfig;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

class RunConfigTest {

  @Test
  @DisplayName("a precision that this version cannot compute in is refused, not replaced")
  void fp8ComputeIsRefused() {
    assertThatCode(() -> withPrecision("FP32").requireTrainable()).doesNotThrowAnyException();
    assertThatThrownBy(() -> withPrecision("FP8").requireTrainable())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "cannot train in train.precision=fp8: this version computes in fp32 only;"
                + " set train.precision=fp32 (wires may be fp8)");
  }

  private static RunConfig withPrecision(String precision) {
    TrainConfig train = TrainConfigs.base().with("precision", precision).build();
    return new RunConfig(TinyRun.model(), train, ClusterConfig.defaults());
  }
}
