package io.sparkmoe.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class TensorTest {

  private final Arena arena = new Arena("test", 1 << 20);
  private final Scope scope = arena.scope();

  @AfterEach
  void close() {
    scope.close();
    arena.close();
  }

  @Test
  void elementsOfEveryTypeComeBackAsTheyWereSet() {
    for (DType type : DType.values()) {
      Tensor tensor = scope.allocate(type, 3);
      tensor.set(0, 1);
      tensor.set(1, 192);
      tensor.set(2, 3);
      assertThat(new double[] {tensor.get(0), tensor.get(1), tensor.get(2)})
          .as(type.name())
          .containsExactly(1, 192, 3);
      assertThat(tensor.sizeBytes()).isEqualTo(3L * type.sizeBytes());
    }
  }

  @Test
  void bfloat16RoundsToNearestEven() {
    Tensor tensor = scope.allocate(DType.BF16, 4);
    tensor.set(0, 1 + 0x1p-8);
    tensor.set(1, 1 + 3 * 0x1p-8);
    tensor.set(2, Float.MAX_VALUE);
    tensor.set(3, Float.NaN);
    assertThat(tensor.get(0)).isEqualTo(1);
    assertThat(tensor.get(1)).isEqualTo(1 + 0x1p-6);
    assertThat(tensor.get(2)).isInfinite();
    assertThat(tensor.get(3)).isNaN();
  }

  @Test
  void viewsShareMemoryAndStayInside() {
    Tensor tensor = scope.zeros(DType.F32, 4, 3);
    Tensor row = tensor.view(6, 3);
    row.copyFrom(1, 2, 3);
    assertThat(tensor.get(7)).isEqualTo(2);
    assertThat(tensor.reshape(2, 6).get(8)).isEqualTo(3);
    row.close();
    assertThat(tensor.get(7)).isEqualTo(2);
    assertThatThrownBy(() -> tensor.view(10, 3))
        .hasMessage("a view of 3 elements at 10 must lie inside the 12 of F32[4, 3]");
    assertThatThrownBy(() -> tensor.reshape(5, 2)).hasMessage("cannot reshape F32[4, 3] to [5, 2]");
  }

  @Test
  void rowsAndColumnsFlattenTheOuterSizes() {
    Tensor tensor = scope.allocate(DType.F32, 2, 3, 4);
    assertThat(tensor.rows()).isEqualTo(6);
    assertThat(tensor.cols()).isEqualTo(4);
    assertThat(scope.allocate(DType.F32, 0, 4).rows()).isZero();
  }

  @Test
  void emptyTensorsWork() {
    Tensor tensor = scope.zeros(DType.F32, 0, 4);
    assertThat(tensor.size()).isZero();
    assertThat(tensor.toFloatArray()).isEmpty();
    tensor.copyFrom(scope.allocate(DType.F32, 0));
  }

  @Test
  void copiesNeedTheSameTypeAndSize() {
    Tensor tensor = scope.allocate(DType.F32, 2);
    assertThatThrownBy(() -> tensor.copyFrom(scope.allocate(DType.F64, 2)))
        .hasMessage("cannot copy F64[2] to F32[2]");
    assertThatThrownBy(() -> tensor.copyFrom(1, 2, 3)).hasMessage("F32[2] takes 2 values, got 3");
  }

  @Test
  void freshMemoryIsPoisonedInTests() {
    assertThat(Boolean.getBoolean("moe.poison")).isTrue();
    assertThat(scope.allocate(DType.F32, 5).toFloatArray()).containsOnly(Float.NaN);
  }
}
