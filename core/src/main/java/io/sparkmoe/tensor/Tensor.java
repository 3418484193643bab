package io.sparkmoe.tensor;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/**
 * A dense, row-major array of one element type in off-heap memory. A tensor from an {@link
 * Allocator} owns its memory; one from {@link #view} or {@link #reshape} borrows it and must not
 * outlive it. Element access by index is for set-up, reference kernels and tests; fast kernels use
 * {@link #bytes} and {@link #address}. No bounds are checked beyond those of the byte buffer.
 */
public final class Tensor implements Elements, AutoCloseable {

  private final Arena arena;
  private final DType type;
  private final int[] shape;
  private final int size;
  private final long address;
  private final ByteBuffer bytes;
  private final BytePointer pointer;
  private Arena.Block block;

  Tensor(Arena arena, Arena.Block block, DType type, int[] shape) {
    this(
        arena,
        block,
        Arena.pointerAt(block.address(), elements(shape) * type.sizeBytes()),
        type,
        shape);
  }

  private Tensor(Arena arena, Arena.Block block, BytePointer pointer, DType type, int[] shape) {
    this(
        arena,
        block,
        pointer,
        pointer.capacity() == 0 ? ByteBuffer.allocateDirect(0) : pointer.asByteBuffer(),
        type,
        shape);
  }

  private Tensor(
      Arena arena,
      Arena.Block block,
      BytePointer pointer,
      ByteBuffer bytes,
      DType type,
      int[] shape) {
    this.arena = arena;
    this.block = block;
    this.type = type;
    this.shape = shape.clone();
    this.size = Math.toIntExact(elements(shape));
    this.address = pointer.address();
    this.pointer = pointer;
    this.bytes = bytes.order(ByteOrder.nativeOrder());
  }

  static long elements(int[] shape) {
    long product = 1;
    for (int length : shape) {
      if (length < 0) {
        throw new IllegalArgumentException(
            "a dimension must be >= 0, got " + Arrays.toString(shape));
      }
      product = Math.multiplyExact(product, length);
    }
    return product;
  }

  @Override
  public DType type() {
    return type;
  }

  @Override
  public int[] shape() {
    return shape.clone();
  }

  /** Size of one dimension, the outermost being 0. */
  public int dim(int axis) {
    return shape[axis];
  }

  /** Number of dimensions. */
  public int numDims() {
    return shape.length;
  }

  @Override
  public int size() {
    return size;
  }

  /** Size of the last dimension. */
  public int cols() {
    return shape.length == 0 ? 1 : shape[shape.length - 1];
  }

  /** Product of all but the last dimension. */
  public int rows() {
    return shape.length == 0 || cols() == 0 ? 1 : size / cols();
  }

  /** Address of element 0, valid while the owner is open. */
  public long address() {
    return address;
  }

  /**
   * The whole memory in native order; its position and limit belong to everybody, so use absolute
   * access only.
   */
  public ByteBuffer bytes() {
    return bytes;
  }

  /** JavaCPP pointer to element 0, for native calls; it frees nothing. */
  public BytePointer pointer() {
    return pointer;
  }

  /** A borrowed view of {@code shape} starting at element {@code offset}. */
  public Tensor view(int offset, int... shape) {
    long length = elements(shape);
    if (offset < 0 || offset + length > size) {
      throw new IllegalArgumentException(
          "a view of "
              + length
              + " elements at "
              + offset
              + " must lie inside the "
              + size
              + " of "
              + this);
    }
    int offsetBytes = offset * type.sizeBytes();
    int lengthBytes = (int) length * type.sizeBytes();
    // A slice costs a fraction of a new buffer around the address.
    return new Tensor(
        null,
        null,
        Arena.pointerAt(address + offsetBytes, lengthBytes),
        bytes.slice(offsetBytes, lengthBytes),
        type,
        shape);
  }

  /** A borrowed view of {@code shape} from byte {@code offset} of a U8 tensor on, of any type. */
  public Tensor viewAs(DType viewed, int offset, int... shape) {
    long bytes = elements(shape) * viewed.sizeBytes();
    if (type != DType.U8 || offset < 0 || offset + bytes > size) {
      throw new IllegalArgumentException(
          "a view of "
              + bytes
              + " bytes at "
              + offset
              + " must lie inside a U8 tensor, got "
              + this);
    }
    return new Tensor(null, null, Arena.pointerAt(address + offset, bytes), viewed, shape);
  }

  /** A borrowed view of the same elements in another shape. */
  public Tensor reshape(int... shape) {
    if (elements(shape) != size) {
      throw new IllegalArgumentException(
          "cannot reshape " + this + " to " + Arrays.toString(shape));
    }
    return view(0, shape);
  }

  @Override
  public double get(int index) {
    return switch (type) {
      case F64 -> bytes.getDouble(index * 8);
      case F32 -> bytes.getFloat(index * 4);
      case BF16 -> Bfloat16.decode(bytes.getShort(index * 2));
      case F8_E4M3 -> Fp8Format.E4M3.decode(bytes.get(index));
      case F8_E5M2 -> Fp8Format.E5M2.decode(bytes.get(index));
      case U8 -> bytes.get(index) & 0xFF;
      case I32 -> bytes.getInt(index * 4);
    };
  }

  @Override
  public void set(int index, double value) {
    switch (type) {
      case F64 -> bytes.putDouble(index * 8, value);
      case F32 -> bytes.putFloat(index * 4, (float) value);
      case BF16 -> bytes.putShort(index * 2, Bfloat16.encode((float) value));
      case F8_E4M3 -> bytes.put(index, Fp8Format.E4M3.encode((float) value));
      case F8_E5M2 -> bytes.put(index, Fp8Format.E5M2.encode((float) value));
      case U8 -> bytes.put(index, (byte) value);
      case I32 -> bytes.putInt(index * 4, (int) value);
    }
  }

  @Override
  public void copyTo(byte[] to, int index, int count) {
    bytes.get(index * type.sizeBytes(), to, 0, count * type.sizeBytes());
  }

  @Override
  public void copyFrom(byte[] from, int index, int count) {
    bytes.put(index * type.sizeBytes(), from, 0, count * type.sizeBytes());
  }

  /** Element of an F32 tensor. */
  public float getFloat(int index) {
    assert type == DType.F32 : this;
    return bytes.getFloat(index * 4);
  }

  /** Sets an element of an F32 tensor. */
  public void setFloat(int index, float value) {
    assert type == DType.F32 : this;
    bytes.putFloat(index * 4, value);
  }

  /** Element of an I32 tensor. */
  public int getInt(int index) {
    assert type == DType.I32 : this;
    return bytes.getInt(index * 4);
  }

  /** Sets an element of an I32 tensor. */
  public void setInt(int index, int value) {
    assert type == DType.I32 : this;
    bytes.putInt(index * 4, value);
  }

  /** Sets every bit to zero. */
  public void zero() {
    fillBytes((byte) 0);
  }

  void fillBytes(byte value) {
    Pointer.memset(pointer, value & 0xFF, sizeBytes());
  }

  /** Copies all bytes from a tensor of the same type and element count. */
  public void copyFrom(Tensor source) {
    if (source.type != type || source.size != size) {
      throw new IllegalArgumentException("cannot copy " + source + " to " + this);
    }
    Pointer.memcpy(pointer, source.pointer, sizeBytes());
  }

  /** Copies {@code values} to an F32 or F64 tensor of the same element count. */
  public void copyFrom(float... values) {
    if (values.length != size) {
      throw new IllegalArgumentException(this + " takes " + size + " values, got " + values.length);
    }
    for (int i = 0; i < size; i++) {
      set(i, values[i]);
    }
  }

  /** All elements as floats, in order. */
  public float[] toFloatArray() {
    float[] values = new float[size];
    for (int i = 0; i < size; i++) {
      values[i] = (float) get(i);
    }
    return values;
  }

  /** All elements of an I32 tensor, in order. */
  public int[] toIntArray() {
    assert type == DType.I32 : this;
    int[] values = new int[size];
    bytes.asIntBuffer().get(values);
    return values;
  }

  /** Gives owned memory back; nothing for a view, nothing the second time. */
  @Override
  public void close() {
    if (block != null) {
      arena.giveBack(block);
      block = null;
    }
  }

  @Override
  public String toString() {
    return type + Arrays.toString(shape);
  }
}
