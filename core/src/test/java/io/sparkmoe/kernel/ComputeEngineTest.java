package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class ComputeEngineTest {

  @Test
  void autoMeasuresTheLibrariesAndTakesTheFastest() {
    try (ComputeEngine engine = ComputeEngine.open("test", "auto", 2)) {
      assertThat(engine.gemmGflops()).containsOnlyKeys("onednn", "openblas");
      double best = engine.gemmGflops().get(engine.gemmName());
      assertThat(engine.gemmGflops().values())
          .allMatch(gflops -> gflops > 0 && gflops <= 1.3 * best);
      assertThat(engine.kernels()).isInstanceOf(VectorKernels.class);
      assertThat(engine.parallel().threads()).isEqualTo(2);
    }
  }

  @Test
  void aNamedLibraryIsTakenUnmeasured() {
    try (ComputeEngine engine = ComputeEngine.open("test", "openblas", 1)) {
      assertThat(engine.gemmName()).isEqualTo("openblas");
      assertThat(engine.gemmGflops()).isEmpty();
      assertThat(engine.measurePeakGflops()).isPositive();
    }
  }

  @Test
  void anUnknownLibraryIsRefusedWithTheKnownOnes() {
    assertThatThrownBy(() -> ComputeEngine.open("test", "mkl", 1))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "gemm backend must be one of [onednn, onednn-f32, openblas, reference] or auto, got mkl");
  }
}
