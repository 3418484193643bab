package io.sparkmoe.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.Test;

class WithoutVectorModuleTest {

  @Test
  void referenceKernelsTakeOverAndSaySo() throws Exception {
    ForkedJvm.Result result =
        ForkedJvm.run(List.of("-Dorg.apache.logging.log4j.level=WARN"), Opens.class);
    assertThat(result.output())
        .contains("start Java with --add-modules=jdk.incubator.vector for the fast ones")
        .contains("ReferenceKernels computed 7.0");
    assertThat(result.status()).as(result.output()).isZero();
  }

  /** Opens an engine as a run does and computes with it. */
  static final class Opens {

    private Opens() {}

    public static void main(String[] args) {
      try (ComputeEngine engine = ComputeEngine.open("test", "auto", 2);
          Arena arena = new Arena("test", 1 << 20);
          Tensor x = arena.allocate(DType.F32, 1);
          Tensor y = arena.allocate(DType.F32, 1)) {
        x.copyFrom(3f);
        y.copyFrom(4f);
        engine.kernels().add(y, x);
        System.out.println(
            engine.kernels().getClass().getSimpleName() + " computed " + y.getFloat(0));
      }
    }
  }
}
