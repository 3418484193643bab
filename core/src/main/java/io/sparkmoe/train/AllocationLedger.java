package io.sparkmoe.train;

import io.sparkmoe.tensor.Arena;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Counts what an {@link Arena} comes to hold when it is asked for tensors in a given order: the
 * same size classes, the same reuse of free blocks, and no memory.
 */
final class AllocationLedger {

  private final TreeMap<Long, ArrayDeque<Block>> free = new TreeMap<>();
  private long ownedBytes;
  private long touchedBytes;

  /** The end of a block beyond its longest tensor is never written, so no memory is behind it. */
  private static final class Block {
    final long sizeBytes;
    long touchedBytes;

    Block(long sizeBytes) {
      this.sizeBytes = sizeBytes;
    }
  }

  /** Allocations that end together, as those of an arena's scope do. */
  final class Frame implements AutoCloseable {
    private final List<Block> blocks = new ArrayList<>();

    /** A tensor of that many bytes. */
    void bytes(long bytes) {
      Block block = take(Arena.sizeClass(bytes));
      touchedBytes += Math.max(0, bytes - block.touchedBytes);
      block.touchedBytes = Math.max(block.touchedBytes, bytes);
      blocks.add(block);
    }

    /** An F32 or I32 tensor of that many elements. */
    void words(long elements) {
      bytes(elements * Float.BYTES);
    }

    @Override
    public void close() {
      blocks.forEach(
          block -> free.computeIfAbsent(block.sizeBytes, size -> new ArrayDeque<>()).add(block));
      blocks.clear();
    }
  }

  /** New allocations. */
  Frame open() {
    return new Frame();
  }

  /** Bytes that the arena asks the operating system for. */
  long ownedBytes() {
    return ownedBytes;
  }

  /** Bytes of them that are written, and so take memory. */
  long touchedBytes() {
    return touchedBytes;
  }

  private Block take(long size) {
    Map.Entry<Long, ArrayDeque<Block>> fitting = free.ceilingEntry(size);
    if (fitting == null || fitting.getKey() > Arena.largestFit(size)) {
      ownedBytes += size;
      return new Block(size);
    }
    Block block = fitting.getValue().pollLast();
    if (fitting.getValue().isEmpty()) {
      free.remove(fitting.getKey());
    }
    return block;
  }
}
