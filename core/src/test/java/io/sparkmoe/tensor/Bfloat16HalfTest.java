package io.sparkmoe.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class Bfloat16HalfTest {

  /** Law: both halves hold what BF16 tensors would, and copy the same bytes. */
  @Test
  void halvesAreTwoTensors() {
    try (Arena arena = new Arena("test", 1 << 20);
        Scope scope = arena.scope()) {
      Tensor pairs = scope.zeros(DType.I32, 3, 5);
      Tensor first = scope.allocate(DType.BF16, 3, 5);
      Tensor second = scope.allocate(DType.BF16, 3, 5);
      Elements lower = Bfloat16Half.lower(pairs);
      Elements upper = Bfloat16Half.upper(pairs);
      for (int i = 0; i < first.size(); i++) {
        first.set(i, 1.1 * i - 3);
        lower.set(i, 1.1 * i - 3);
        second.set(i, 1 / (i + 0.3));
      }
      byte[] bytes = new byte[(int) second.sizeBytes()];
      second.copyTo(bytes, 4, 7);
      upper.copyFrom(bytes, 4, 7);
      for (int i = 0; i < first.size(); i++) {
        assertThat(lower.get(i)).isEqualTo(first.get(i));
        assertThat(upper.get(i)).isEqualTo(i >= 4 && i < 11 ? second.get(i) : 0);
      }
      byte[] copied = new byte[bytes.length];
      upper.copyTo(copied, 4, 7);
      assertThat(copied).isEqualTo(bytes);
      assertThat(lower.type()).isEqualTo(DType.BF16);
      assertThat(lower.shape()).containsExactly(3, 5);
      assertThat(lower.sizeBytes()).isEqualTo(30);
    }
  }

  @Test
  void refusesOtherTypes() {
    try (Arena arena = new Arena("test", 1 << 20);
        Scope scope = arena.scope()) {
      Tensor floats = scope.zeros(DType.F32, 2);
      assertThatThrownBy(() -> Bfloat16Half.upper(floats)).hasMessageContaining("I32");
    }
  }
}
