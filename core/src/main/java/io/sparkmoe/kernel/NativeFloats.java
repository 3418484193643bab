package io.sparkmoe.kernel;

import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.ShortBuffer;
import org.bytedeco.javacpp.FloatPointer;

/**
 * A movable pointer to floats that somebody else owns; it frees nothing. One thread's own, to save
 * allocations.
 */
final class NativeFloats extends FloatPointer {

  /** Points to {@code newAddress}. */
  NativeFloats moveTo(long newAddress) {
    address = newAddress;
    return this;
  }

  /** The {@code count} 16-bit elements at {@code address} in native order. */
  static ShortBuffer shortsAt(long address, int count) {
    NativeFloats pointer = new NativeFloats();
    pointer.address = address;
    pointer.limit = (count + 1) / 2;
    pointer.capacity = pointer.limit;
    return pointer.asByteBuffer().order(ByteOrder.nativeOrder()).asShortBuffer();
  }

  /** The {@code count} floats at {@code address} in native order. */
  static FloatBuffer at(long address, int count) {
    NativeFloats pointer = new NativeFloats();
    pointer.address = address;
    pointer.limit = count;
    pointer.capacity = count;
    return pointer.asBuffer();
  }
}
