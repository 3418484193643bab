package io.sparkmoe.kernel;

import java.nio.FloatBuffer;
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

  /** The {@code count} floats at {@code address} in native order. */
  static FloatBuffer at(long address, int count) {
    NativeFloats pointer = new NativeFloats();
    pointer.address = address;
    pointer.limit = count;
    pointer.capacity = count;
    return pointer.asBuffer();
  }
}
