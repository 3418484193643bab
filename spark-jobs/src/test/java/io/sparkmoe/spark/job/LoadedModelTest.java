package io.sparkmoe.spark.job;

import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class LoadedModelTest {

  private static final long MIB = 1 << 20;

  @Test
  void cachesThatTheMachineCannotHoldAreRefusedBeforeTheWeightsAreRead() {
    LoadedModel.Caches caches =
        new LoadedModel.Caches(2100 * MIB, 2100 * MIB, "lower --batch or --max-tokens");
    assertThatThrownBy(() -> LoadedModel.requireMemory(4000 * MIB, 2000 * MIB, caches))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "not enough memory: this machine has 4000 MiB free, expected at least 2000 MiB for the"
                + " weights and 2100 MiB for the caches of the texts; lower --batch or"
                + " --max-tokens");
    assertThatThrownBy(() -> LoadedModel.requireMemory(1000 * MIB, 2000 * MIB, caches))
        .hasMessageEndingWith(
            "expected at least 2000 MiB for the weights; take a smaller model or a larger machine");
    assertThatCode(() -> LoadedModel.requireMemory(4100 * MIB, 2000 * MIB, caches))
        .doesNotThrowAnyException();
  }
}
