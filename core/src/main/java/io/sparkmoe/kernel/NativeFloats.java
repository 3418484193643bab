package io.sparkmoe.kernel;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
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

  /** The {@code bytes} bytes, an even number, at {@code address} in native order. */
  static ByteBuffer bytesAt(long address, int bytes) {
    NativeFloats pointer = new NativeFloats();
    pointer.address = address;
    pointer.limit = (bytes + Float.BYTES - 1) / Float.BYTES;
    pointer.capacity = pointer.limit;
    return pointer.asByteBuffer().order(ByteOrder.nativeOrder());
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
