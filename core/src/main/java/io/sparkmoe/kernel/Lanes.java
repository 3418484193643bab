package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Bfloat16;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
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

  /** As many floats as doubles. */
  private static final VectorSpecies<Float> HALF_FLOATS =
      VectorSpecies.of(float.class, VectorShape.forBitSize(FLOATS.vectorBitSize() / 2));

  /** As many 16-bit elements as floats. */
  private static final VectorSpecies<Short> SHORTS =
      VectorSpecies.of(short.class, VectorShape.forBitSize(FLOATS.vectorBitSize() / 2));

  /** The smallest vector of bytes; vectors of four floats have none of their length. */
  private static final boolean BYTES_FIT = LENGTH >= ByteVector.SPECIES_64.length();

  /** As many bytes as floats, where there are. */
  private static final VectorSpecies<Byte> BYTES =
      BYTES_FIT
          ? VectorSpecies.of(byte.class, VectorShape.forBitSize(FLOATS.vectorBitSize() / 4))
          : ByteVector.SPECIES_64;

  private static final int CACHE_LINE_BYTES = 64;

  private static final ByteOrder ORDER = ByteOrder.nativeOrder();

  /** Where byte i of a little-endian int is not at the top, by lane. */
  private static final IntVector TO_TOP =
      IntVector.broadcast(INTS, Integer.SIZE - Byte.SIZE)
          .sub(IntVector.zero(INTS).addIndex(Byte.SIZE));

  private Lanes() {}

  /** End of the whole vectors in [from, to). */
  static int bound(int from, int to) {
    return from + FLOATS.loopBound(to - from);
  }

  static FloatVector load(ByteBuffer memory, int index) {
    return FloatVector.fromByteBuffer(FLOATS, memory, index * Float.BYTES, ORDER);
  }

  /**
   * Half a vector of floats, widened: cheaper than the second half of a whole one, which has to be
   * moved to the front.
   */
  static DoubleVector loadAsDoubles(ByteBuffer memory, int index) {
    FloatVector floats =
        FloatVector.fromByteBuffer(HALF_FLOATS, memory, index * Float.BYTES, ORDER);
    return (DoubleVector) floats.convertShape(VectorOperators.F2D, DOUBLES, 0);
  }

  static void store(ByteBuffer memory, int index, FloatVector values) {
    values.intoByteBuffer(memory, index * Float.BYTES, ORDER);
  }

  static FloatVector load(float[] memory, int index) {
    return FloatVector.fromArray(FLOATS, memory, index);
  }

  static void store(float[] memory, int index, FloatVector values) {
    values.intoArray(memory, index);
  }

  static IntVector loadInts(ByteBuffer memory, int index) {
    return IntVector.fromByteBuffer(INTS, memory, index * Integer.BYTES, ORDER);
  }

  static void storeInts(ByteBuffer memory, int index, IntVector values) {
    values.intoByteBuffer(memory, index * Integer.BYTES, ORDER);
  }

  /** BF16 elements as floats. */
  static FloatVector loadBfloat16(ByteBuffer memory, int index) {
    ShortVector halves = ShortVector.fromByteBuffer(SHORTS, memory, index * Short.BYTES, ORDER);
    IntVector wide = (IntVector) halves.convertShape(VectorOperators.S2I, INTS, 0);
    return wide.lanewise(VectorOperators.LSHL, Short.SIZE).reinterpretAsFloats();
  }

  /** Stores bits of floats as they are, or their upper halves where memory holds BF16. */
  static void storeBits(boolean bfloat16, ByteBuffer memory, int index, IntVector bits) {
    if (bfloat16) {
      storeUpperHalves(memory, index, bits);
    } else {
      storeInts(memory, index, bits);
    }
  }

  /** Stores the upper 16 bits of every lane, which of a float are a BF16 number. */
  static void storeUpperHalves(ByteBuffer memory, int index, IntVector values) {
    IntVector halves = values.lanewise(VectorOperators.LSHR, Short.SIZE);
    ((ShortVector) halves.convertShape(VectorOperators.I2S, SHORTS, 0))
        .intoByteBuffer(memory, index * Short.BYTES, ORDER);
  }

  /** Bytes with their sign extended. */
  static IntVector loadBytes(ByteBuffer memory, int index) {
    if (BYTES_FIT) {
      ByteVector bytes = ByteVector.fromByteBuffer(BYTES, memory, index, ORDER);
      return (IntVector) bytes.convertShape(VectorOperators.B2I, INTS, 0);
    }
    // Every lane takes its byte of the same four to the top and down again.
    return IntVector.broadcast(INTS, memory.getInt(index))
        .lanewise(VectorOperators.LSHL, TO_TOP)
        .lanewise(VectorOperators.ASHR, Integer.SIZE - Byte.SIZE);
  }

  /** Stores the low byte of every lane. */
  static void storeLowBytes(ByteBuffer memory, int index, IntVector values) {
    if (BYTES_FIT) {
      ((ByteVector) values.convertShape(VectorOperators.I2B, BYTES, 0))
          .intoByteBuffer(memory, index, ORDER);
    } else {
      IntVector placed =
          values
              .lanewise(VectorOperators.LSHL, Integer.SIZE - Byte.SIZE)
              .lanewise(VectorOperators.LSHR, TO_TOP);
      memory.putInt(index, placed.reduceLanes(VectorOperators.OR));
    }
  }

  static void setBfloat16(ByteBuffer memory, int index, float value) {
    memory.putShort(index * Short.BYTES, Bfloat16.encode(value));
  }

  static void set(boolean bfloat16, ByteBuffer memory, int index, float value) {
    if (bfloat16) {
      setBfloat16(memory, index, value);
    } else {
      set(memory, index, value);
    }
  }

  static float getBfloat16(ByteBuffer memory, int index) {
    return Bfloat16.decode(memory.getShort(index * Short.BYTES));
  }

  static float get(ByteBuffer memory, int index) {
    return memory.getFloat(index * Float.BYTES);
  }

  static void set(ByteBuffer memory, int index, float value) {
    memory.putFloat(index * Float.BYTES, value);
  }

  static void copy(ByteBuffer to, int toIndex, ByteBuffer from, int fromIndex, int count) {
    int bound = FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += LENGTH) {
      store(to, toIndex + i, load(from, fromIndex + i));
    }
    for (int i = bound; i < count; i++) {
      set(to, toIndex + i, get(from, fromIndex + i));
    }
  }

  /** {@code count} BF16 elements as floats. */
  static void widen(float[] to, int toIndex, ByteBuffer bf16, int fromIndex, int count) {
    int bound = FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += LENGTH) {
      store(to, toIndex + i, loadBfloat16(bf16, fromIndex + i));
    }
    for (int i = bound; i < count; i++) {
      to[toIndex + i] = getBfloat16(bf16, fromIndex + i);
    }
  }

  static void clear(ByteBuffer memory, int index, int count) {
    clear(false, memory, index, count);
  }

  /** Zeros, in BF16 or F32. */
  static void clear(boolean bfloat16, ByteBuffer memory, int index, int count) {
    int end = index + count;
    int bound = bound(index, end);
    for (int i = index; i < bound; i += LENGTH) {
      storeBits(bfloat16, memory, i, IntVector.zero(INTS));
    }
    for (int i = bound; i < end; i++) {
      set(bfloat16, memory, i, 0);
    }
  }

  /**
   * Reads one word of every cache line of {@code count} elements, four quarters side by side: a
   * core with one stream of memory waits for it.
   *
   * @return their sum, which means nothing
   */
  static int fetch(Tensor tensor, int index, int count) {
    ByteBuffer memory = tensor.bytes();
    int elementBytes = tensor.type().sizeBytes();
    int first = index * elementBytes;
    int last = first + count * elementBytes - Integer.BYTES;
    int quarter = count * elementBytes / 4 / CACHE_LINE_BYTES * CACHE_LINE_BYTES;
    int sum = 0;
    for (int at = first; at < first + quarter; at += CACHE_LINE_BYTES) {
      sum +=
          memory.getInt(at)
              + memory.getInt(at + quarter)
              + memory.getInt(at + 2 * quarter)
              + memory.getInt(at + 3 * quarter);
    }
    for (int at = first + 4 * quarter; at <= last; at += CACHE_LINE_BYTES) {
      sum += memory.getInt(at);
    }
    return sum;
  }

  /** Address of an element, for native calls. */
  static long address(Tensor tensor, int index) {
    return tensor.address() + (long) index * tensor.type().sizeBytes();
  }
}
