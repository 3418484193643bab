package io.sparkmoe.kernel;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;

/** A thread's reusable off-heap floats: grows when asked for more, never shrinks. */
final class Scratch {

  private static final int ALIGNMENT_BYTES = 64;

  private ByteBuffer memory = ByteBuffer.allocateDirect(0);
  private long address;

  /**
   * Memory of at least {@code floats} elements with undefined contents, valid until the next call.
   */
  ByteBuffer floats(int floats) {
    long bytes = (long) floats * Float.BYTES;
    if (memory.capacity() < bytes) {
      // Half as much again, so that a growing sequence does not reallocate at every block.
      long wanted = Math.min(Integer.MAX_VALUE - 2 * ALIGNMENT_BYTES, bytes + bytes / 2);
      // An aligned slice ends aligned too: only whole units of the alignment survive.
      int whole = (int) ((wanted + ALIGNMENT_BYTES - 1) / ALIGNMENT_BYTES * ALIGNMENT_BYTES);
      memory = ByteBuffer.allocateDirect(whole + ALIGNMENT_BYTES).alignedSlice(ALIGNMENT_BYTES);
      memory.order(ByteOrder.nativeOrder());
      address = new BytePointer(memory).address();
    }
    return memory;
  }

  /**
   * An array of at least {@code size} floats with undefined contents: the given one if it is long
   * enough.
   */
  static float[] grown(float[] memory, int size) {
    return memory.length < size ? new float[size + size / 2] : memory;
  }

  /** Address of the memory last handed out. */
  long address() {
    return address;
  }
}
