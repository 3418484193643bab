package io.sparkmoe.checkpoint;

import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.io.Store;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Elements;
import io.sparkmoe.tensor.Tensor;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;

/**
 * Reads a safetensors file tensor by tensor, without holding more of it than a buffer. Reading
 * tensors in the order of {@link #names} goes through the file once. Not thread-safe; open one
 * reader per thread.
 */
public final class SafetensorsReader implements AutoCloseable {

  /** Of F8_E8M0. */
  private static final int SCALE_BIAS = 127;

  /** A multiple of every element size, so that no element is split. */
  private static final int CHUNK_BYTES = 1 << 20;

  private final Store store;
  private final String path;
  private final SafetensorsHeader header;
  private final byte[] chunk = new byte[CHUNK_BYTES];
  private InputStream in;
  private long positionBytes;

  private SafetensorsReader(Store store, String path) throws IOException {
    this.store = store;
    this.path = path;
    long fileBytes = store.size(path);
    this.in = store.open(path);
    try {
      this.header = SafetensorsHeader.read(store.describe(path), in, fileBytes);
      this.positionBytes = header.dataStartBytes();
    } catch (IOException | RuntimeException e) {
      in.close();
      throw e;
    }
  }

  /**
   * Opens a file and checks its header.
   *
   * @throws CorruptFileException when the header contradicts itself or the size of the file
   */
  public static SafetensorsReader open(Store store, String path) throws IOException {
    return new SafetensorsReader(store, path);
  }

  /** Opens a file of this machine. */
  public static SafetensorsReader open(Path file) throws IOException {
    Path absolute = file.toAbsolutePath();
    if (absolute.getParent() == null) {
      throw new FileNotFoundException(file + " is no file");
    }
    return open(new LocalStore(absolute.getParent()), absolute.getFileName().toString());
  }

  /** The file as a person would find it. */
  public String location() {
    return store.describe(path);
  }

  /** Names of all tensors, in the order of their data. */
  public Set<String> names() {
    return header.tensors().keySet();
  }

  /** Whether the file holds a tensor of that name. */
  public boolean contains(String name) {
    return header.tensors().containsKey(name);
  }

  /** Type, shape and place of a tensor. */
  public TensorInfo info(String name) {
    TensorInfo info = header.tensors().get(name);
    if (info == null) {
      throw new IllegalArgumentException(store.describe(path) + " holds no tensor " + name);
    }
    return info;
  }

  /** Free text entries of the header. */
  public Map<String, String> metadata() {
    return header.metadata();
  }

  /** Reads a tensor into new memory of {@link SafetensorsType#tensorType}. */
  public Tensor read(String name, Allocator allocator) throws IOException {
    TensorInfo info = info(name);
    Tensor tensor = allocator.allocate(info.type().tensorType(), info.dims());
    try {
      read(name, tensor);
    } catch (IOException | RuntimeException e) {
      tensor.close();
      throw e;
    }
    return tensor;
  }

  /**
   * Reads a tensor into {@code into}, which must have its shape. Floating types are converted where
   * they differ (rounded to nearest even when narrowed); integers go to I32, bytes to U8.
   */
  public void read(String name, Elements into) throws IOException {
    TensorInfo info = info(name);
    requireFits(info, into);
    boolean asStored = info.type() == SafetensorsType.of(into.type());
    int[] element = {0};
    forEachChunk(
        info,
        (offsetBytes, lengthBytes) -> {
          if (asStored) {
            int elementBytes = into.type().sizeBytes();
            into.copyFrom(chunk, (int) (offsetBytes / elementBytes), lengthBytes / elementBytes);
          } else {
            element[0] = convert(info, lengthBytes, into, element[0]);
          }
        });
  }

  /** Adds a tensor's bytes, as they lie in the file, to a checksum. */
  void digest(String name, MessageDigest digest) throws IOException {
    forEachChunk(info(name), (offsetBytes, lengthBytes) -> digest.update(chunk, 0, lengthBytes));
  }

  /** Receives the part of a tensor that {@link #chunk} holds now. */
  private interface ChunkConsumer {
    void accept(long offsetBytes, int lengthBytes) throws IOException;
  }

  private void forEachChunk(TensorInfo info, ChunkConsumer consumer) throws IOException {
    seek(header.dataStartBytes() + info.offsetBytes());
    for (long done = 0; done < info.sizeBytes(); ) {
      int length = (int) Math.min(CHUNK_BYTES, info.sizeBytes() - done);
      readChunk(length);
      consumer.accept(done, length);
      done += length;
    }
  }

  @Override
  public void close() throws IOException {
    in.close();
  }

  private void requireFits(TensorInfo info, Elements into) {
    boolean convertible = into.type().isFloating() && info.type().tensorType().isFloating();
    if (!Arrays.equals(into.shape(), info.dims())
        || !(convertible || into.type() == info.type().tensorType())) {
      throw new IllegalArgumentException(
          "tensor "
              + info.name()
              + " of "
              + store.describe(path)
              + " is "
              + info.type()
              + info.shape()
              + ", expected "
              + into
              + "; was it written with another config?");
    }
    if (ByteOrder.nativeOrder() != ByteOrder.LITTLE_ENDIAN) {
      throw new IllegalStateException("safetensors files need a little-endian machine");
    }
  }

  private void seek(long target) throws IOException {
    if (target == positionBytes) {
      return;
    }
    in.close();
    in = store.open(path, target);
    positionBytes = target;
  }

  private void readChunk(int length) throws IOException {
    if (in.readNBytes(chunk, 0, length) < length) {
      throw new CorruptFileException(
          store.describe(path), "it ends before byte " + (positionBytes + length));
    }
    positionBytes += length;
  }

  private int convert(TensorInfo info, int lengthBytes, Elements into, int firstElement)
      throws IOException {
    ByteBuffer stored = ByteBuffer.wrap(chunk).order(ByteOrder.LITTLE_ENDIAN);
    int element = firstElement;
    for (int at = 0; at < lengthBytes; at += info.type().sizeBytes()) {
      double value =
          switch (info.type()) {
            case F64 -> stored.getDouble(at);
            case F32 -> stored.getFloat(at);
            case BF16 -> Float.intBitsToFloat(stored.getShort(at) << 16);
            case I64 -> asInt(info, stored.getLong(at));
            case I32 -> stored.getInt(at);
            case I16 -> stored.getShort(at);
            case F16 -> half(stored.getShort(at));
            case F8_E8M0 -> Math.scalb(1.0, (stored.get(at) & 0xFF) - SCALE_BIAS);
            case F8_E4M3, F8_E5M2 -> info.type().tensorType().fp8Format().decode(stored.get(at));
            case U8 -> stored.get(at) & 0xFF;
          };
      into.set(element++, value);
    }
    return element;
  }

  /** Value of a 16-bit float of IEEE 754. */
  private static double half(short bits) {
    int exponent = (bits >> 10) & 0x1F;
    int mantissa = bits & 0x3FF;
    double magnitude =
        switch (exponent) {
          case 0 -> Math.scalb((double) mantissa, -24);
          case 0x1F -> mantissa == 0 ? Double.POSITIVE_INFINITY : Double.NaN;
          default -> Math.scalb((double) (0x400 + mantissa), exponent - 25);
        };
    return bits < 0 ? -magnitude : magnitude;
  }

  private int asInt(TensorInfo info, long value) throws CorruptFileException {
    if (value != (int) value) {
      throw new CorruptFileException(
          store.describe(path),
          "tensor " + info.name() + " holds " + value + ", which does not fit " + DType.I32);
    }
    return (int) value;
  }
}
