package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Vector loads and stores of tensor memory, all of them, because the API for off-heap memory
 * differs between JDKs: 17 has byte buffers, newer ones memory segments. Indices count elements.
 */
final class Lanes {

  static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;

  /** As many ints as floats. */
  static final VectorSpecies<Integer> INTS = VectorSpecies.of(int.class, FLOATS.vectorShape());

  /** Half as many doubles as floats. */
  static final VectorSpecies<Double> DOUBLES = VectorSpecies.of(double.class, FLOATS.vectorShape());

  /** Elements of one vector. */
  static final int LENGTH = FLOATS.length();

  private static final ByteOrder ORDER = ByteOrder.nativeOrder();

  private Lanes() {}

  /** End of the whole vectors in [from, to). */
  static int bound(int from, int to) {
    return from + FLOATS.loopBound(to - from);
  }

  static FloatVector load(ByteBuffer memory, int index) {
    return FloatVector.fromByteBuffer(FLOATS, memory, index * Float.BYTES, ORDER);
  }

  static void store(ByteBuffer memory, int index, FloatVector values) {
    values.intoByteBuffer(memory, index * Float.BYTES, ORDER);
  }

  static IntVector loadInts(ByteBuffer memory, int index) {
    return IntVector.fromByteBuffer(INTS, memory, index * Integer.BYTES, ORDER);
  }

  static void storeInts(ByteBuffer memory, int index, IntVector values) {
    values.intoByteBuffer(memory, index * Integer.BYTES, ORDER);
  }

  static float get(ByteBuffer memory, int index) {
    return memory.getFloat(index * Float.BYTES);
  }

  static void set(ByteBuffer memory, int index, float value) {
    memory.putFloat(index * Float.BYTES, value);
  }

  static void copy(ByteBuffer to, int toIndex, ByteBuffer from, int fromIndex, int count) {
    to.put(toIndex * Float.BYTES, from, fromIndex * Float.BYTES, count * Float.BYTES);
  }

  static void clear(ByteBuffer memory, int index, int count) {
    int end = index + count;
    int bound = bound(index, end);
    for (int i = index; i < bound; i += LENGTH) {
      store(memory, i, FloatVector.zero(FLOATS));
    }
    for (int i = bound; i < end; i++) {
      set(memory, i, 0);
    }
  }

  /** Address of an element, for native calls. */
  static long address(Tensor tensor, int index) {
    return tensor.address() + (long) index * tensor.type().sizeBytes();
  }
}
