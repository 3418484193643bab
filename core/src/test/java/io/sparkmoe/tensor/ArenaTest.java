package io.sparkmoe.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class ArenaTest {

  @Test
  void closingWithOpenTensorsThrowsWithTheirCount() {
    Arena arena = new Arena("rank 1", 1 << 20);
    Tensor first = arena.allocate(DType.F32, 16);
    arena.allocate(DType.F32, 16);
    first.close();
    assertThatThrownBy(arena::close)
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("arena rank 1 closed with 1 open tensors of 64 bytes; close them first");
  }

  @Test
  void theLimitHoldsAndNamesTheBytes() {
    try (Arena arena = new Arena("rank 1", 1000);
        Tensor kept = arena.allocate(DType.F32, 128)) {
      assertThatThrownBy(() -> arena.allocate(DType.F32, 128))
          .isInstanceOf(OutOfArenaException.class)
          .hasMessageStartingWith(
              "arena rank 1 holds 512 bytes and needs 512 more, its limit is 1000;");
      assertThat(arena.usedBytes()).isEqualTo(kept.sizeBytes());
    }
  }

  @Test
  void freeMemoryOfOtherSizesIsReleasedBeforeTheLimitRefuses() {
    try (Arena arena = new Arena("test", 1000)) {
      arena.allocate(DType.F32, 128).close();
      assertThat(arena.ownedBytes()).isEqualTo(512);
      arena.allocate(DType.F32, 200).close();
      assertThat(arena.ownedBytes()).isLessThanOrEqualTo(1000);
    }
  }

  @Test
  void closedMemoryServesTheNextAllocation() {
    try (Arena arena = new Arena("test", 1 << 20)) {
      Tensor first = arena.allocate(DType.F32, 100);
      long address = first.address();
      first.close();
      try (Tensor second = arena.allocate(DType.F32, 10, 10)) {
        assertThat(second.address()).isEqualTo(address);
        assertThat(arena.usedBytes()).isEqualTo(arena.ownedBytes()).isEqualTo(arena.peakBytes());
      }
    }
  }

  /** As the experts' rows do under changing routing: a step's tensors differ a little from it. */
  @Test
  void tensorsWhoseSizesChangeALittleFindTheMemoryOfTheStepBefore() {
    Random random = new Random(5);
    try (Arena arena = new Arena("test", 1L << 30)) {
      long early = 0;
      for (int step = 0; step < 2000; step++) {
        List<Tensor> open = new ArrayList<>();
        for (int tensor = 0; tensor < 12; tensor++) {
          open.add(arena.allocate(DType.F32, 8000 + random.nextInt(2000)));
        }
        open.forEach(Tensor::close);
        early = step == 20 ? arena.ownedBytes() : early;
      }
      assertThat(arena.ownedBytes()).isLessThan(early * 11 / 10);
    }
  }

  @Test
  void closingATensorTwiceGivesItBackOnce() {
    try (Arena arena = new Arena("test", 1 << 20)) {
      Tensor tensor = arena.allocate(DType.F32, 4);
      tensor.close();
      tensor.close();
      try (Tensor a = arena.allocate(DType.F32, 4);
          Tensor b = arena.allocate(DType.F32, 4)) {
        assertThat(a.address()).isNotEqualTo(b.address());
      }
    }
  }

  @Test
  void aScopeClosesItsTensorsTogether() {
    try (Arena arena = new Arena("test", 1 << 20)) {
      try (Scope scope = arena.scope()) {
        scope.allocate(DType.F32, 8);
        scope.zeros(DType.BF16, 8);
        try (Scope inner = scope.inner()) {
          inner.allocate(DType.U8, 8);
        }
        assertThat(arena.usedBytes()).isEqualTo(128);
      }
      assertThat(arena.usedBytes()).isZero();
    }
  }

  @Test
  void memoryIsAlignedToCacheLines() {
    try (Arena arena = new Arena("test", 1 << 20);
        Scope scope = arena.scope()) {
      for (int size : new int[] {1, 3, 17, 1000}) {
        assertThat(scope.allocate(DType.F32, size).address() % 64).isZero();
      }
    }
  }

  @Test
  void aClosedArenaAllocatesNothing() {
    Arena arena = new Arena("rank 1", 1 << 20);
    arena.close();
    assertThatThrownBy(() -> arena.allocate(DType.F32, 1)).hasMessage("arena rank 1 is closed");
  }

  @Test
  void tensorsOfTwoGibibytesAreRefused() {
    try (Arena arena = new Arena("test", 1 << 20)) {
      assertThatThrownBy(() -> arena.allocate(DType.F32, 1 << 15, 1 << 14))
          .hasMessage(
              "a tensor must stay below 2 GiB, got 2147483648 bytes; split it by layer or expert");
    }
  }
}
