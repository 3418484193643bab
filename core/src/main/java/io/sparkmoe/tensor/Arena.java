package io.sparkmoe.tensor;

import java.util.ArrayDeque;
import java.util.Map;
import java.util.TreeMap;
import org.bytedeco.javacpp.BytePointer;
import org.nd4j.linalg.api.buffer.DataBuffer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Owns off-heap ND4J buffers under a byte limit. Memory of a closed tensor stays with the arena and
 * serves the next allocation of its size class, or of one little smaller, so a training step in its
 * steady state asks the operating system for nothing, though the experts' rows change from step to
 * step. Closing an arena while tensors are open throws with their count: a leak shows in the test
 * that makes it. Thread-safe.
 */
public final class Arena implements Allocator, AutoCloseable {

  /**
   * Fills fresh memory with 0xFF bytes (NaN, or -1) so that a read before the first write shows;
   * for tests.
   */
  private static final boolean POISON = Boolean.getBoolean("moe.poison");

  /** Cache-line and AVX-512 alignment. */
  private static final int ALIGNMENT_BYTES = 64;

  private final String name;
  private final long limitBytes;
  private final String advice;
  private final TreeMap<Long, ArrayDeque<Block>> free = new TreeMap<>();
  private long ownedBytes;
  private long usedBytes;
  private long peakBytes;
  private int openTensors;
  private boolean closed;

  /** A buffer of one size class; {@code address} is aligned inside it. */
  record Block(DataBuffer buffer, long address, long sizeBytes) {}

  /**
   * @param name shown in errors, such as "rank 1"
   * @param limitBytes upper bound of the bytes that the arena owns, free ones included
   */
  public Arena(String name, long limitBytes) {
    this(name, limitBytes, "give the process more memory");
  }

  /**
   * @param advice what to do where the limit is passed, as its owner's user can
   */
  public Arena(String name, long limitBytes, String advice) {
    if (limitBytes < 0) {
      throw new IllegalArgumentException("arena limit must be >= 0 bytes, got " + limitBytes);
    }
    this.name = name;
    this.limitBytes = limitBytes;
    this.advice = advice;
  }

  @Override
  public Tensor allocate(DType type, int... shape) {
    long elements = Tensor.elements(shape);
    long bytes = Math.multiplyExact(elements, type.sizeBytes());
    if (bytes > Integer.MAX_VALUE) {
      throw new IllegalArgumentException(
          "a tensor must stay below 2 GiB, got " + bytes + " bytes; split it by layer or expert");
    }
    Block block = take(sizeClass(bytes));
    Tensor tensor = new Tensor(this, block, type, shape);
    if (POISON) {
      tensor.fillBytes((byte) 0xFF);
    }
    return tensor;
  }

  /** A new scope of this arena. */
  public Scope scope() {
    return new Scope(this);
  }

  /** Bytes in open tensors, by size class. */
  public synchronized long usedBytes() {
    return usedBytes;
  }

  /** Bytes held from the operating system, open or free. */
  public synchronized long ownedBytes() {
    return ownedBytes;
  }

  /** Largest {@link #usedBytes} so far. */
  public synchronized long peakBytes() {
    return peakBytes;
  }

  @Override
  public synchronized void close() {
    if (closed) {
      return;
    }
    closed = true;
    free.values().forEach(blocks -> blocks.forEach(block -> block.buffer().close()));
    free.clear();
    if (openTensors > 0) {
      throw new IllegalStateException(
          "arena "
              + name
              + " closed with "
              + openTensors
              + " open tensors of "
              + usedBytes
              + " bytes; close them first");
    }
  }

  private synchronized Block take(long size) {
    if (closed) {
      throw new IllegalStateException("arena " + name + " is closed");
    }
    Block block = takeFree(size);
    if (block == null) {
      if (ownedBytes + size > limitBytes) {
        releaseFree();
      }
      if (ownedBytes + size > limitBytes) {
        throw new OutOfArenaException(
            "arena "
                + name
                + " holds "
                + ownedBytes
                + " bytes and needs "
                + size
                + " more, its limit is "
                + limitBytes
                + "; "
                + advice);
      }
      block = map(size);
      ownedBytes += size;
    }
    usedBytes += block.sizeBytes();
    peakBytes = Math.max(peakBytes, usedBytes);
    openTensors++;
    return block;
  }

  private Block takeFree(long size) {
    Map.Entry<Long, ArrayDeque<Block>> fitting = free.ceilingEntry(size);
    if (fitting == null || fitting.getKey() > largestFit(size)) {
      return null;
    }
    Block block = fitting.getValue().pollLast();
    if (fitting.getValue().isEmpty()) {
      free.remove(fitting.getKey());
    }
    return block;
  }

  synchronized void giveBack(Block block) {
    usedBytes -= block.sizeBytes();
    openTensors--;
    if (closed) {
      block.buffer().close();
    } else {
      free.computeIfAbsent(block.sizeBytes(), size -> new ArrayDeque<>()).addLast(block);
    }
  }

  private void releaseFree() {
    for (ArrayDeque<Block> blocks : free.values()) {
      for (Block block : blocks) {
        ownedBytes -= block.sizeBytes();
        block.buffer().close();
      }
    }
    free.clear();
  }

  private static Block map(long size) {
    DataBuffer buffer = Nd4j.createBuffer(DataType.INT8, size + ALIGNMENT_BYTES, false);
    long address = buffer.pointer().address();
    long aligned = (address + ALIGNMENT_BYTES - 1) / ALIGNMENT_BYTES * ALIGNMENT_BYTES;
    return new Block(buffer, aligned, size);
  }

  /**
   * Largest free block that may serve an allocation of that size class: a quarter more. Tensors
   * whose rows change a little then find the blocks of the step before, and little is wasted.
   */
  public static long largestFit(long sizeClassBytes) {
    return sizeClassBytes + sizeClassBytes / 4;
  }

  /**
   * Bytes that an allocation takes: rounded up to a multiple of an eighth of its power of two, at
   * least one cache line.
   */
  public static long sizeClass(long bytes) {
    long atLeast = Math.max(bytes, ALIGNMENT_BYTES);
    long step = Math.max(ALIGNMENT_BYTES, Long.highestOneBit(atLeast) / 8);
    return (atLeast + step - 1) / step * step;
  }

  /** A pointer over memory that somebody else owns; it frees nothing. */
  static BytePointer pointerAt(long address, long sizeBytes) {
    return new Borrowed(address, sizeBytes);
  }

  private static final class Borrowed extends BytePointer {
    Borrowed(long address, long sizeBytes) {
      this.address = address;
      this.limit = sizeBytes;
      this.capacity = sizeBytes;
    }
  }
}
