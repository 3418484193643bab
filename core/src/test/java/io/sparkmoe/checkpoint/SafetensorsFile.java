package io.sparkmoe.checkpoint;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.tensor.Bfloat16;
import io.sparkmoe.tensor.Fp8Format;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Writes safetensors files of any element type, byte by byte, as other programs do. */
final class SafetensorsFile {

  /** Bits of 2^-14 as a float. */
  private static final int SMALLEST_NORMAL_HALF = (127 - 14) << 23;

  private final ObjectNode header = new ObjectMapper().createObjectNode();
  private final ByteArrayOutputStream data = new ByteArrayOutputStream();

  /** Appends a tensor, every value rounded to the type. */
  SafetensorsFile add(String name, SafetensorsType type, int[] shape, float[] values) {
    ByteBuffer bytes =
        ByteBuffer.allocate(values.length * type.sizeBytes()).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      switch (type) {
        case F32 -> bytes.putFloat(value);
        case BF16 -> bytes.putShort(Bfloat16.encode(value));
        case F16 -> bytes.putShort(half(value));
        case F8_E4M3 -> bytes.put(Fp8Format.E4M3.encode(value));
        case F8_E8M0 -> bytes.put((byte) (127 + Math.getExponent(value)));
        default -> throw new IllegalArgumentException("no test writes " + type);
      }
    }
    ObjectNode node = header.putObject(name);
    node.put("dtype", type.name());
    for (int length : shape) {
      node.withArray("shape").add(length);
    }
    node.putArray("data_offsets").add(data.size()).add(data.size() + bytes.capacity());
    data.writeBytes(bytes.array());
    return this;
  }

  void write(Path file) throws IOException {
    byte[] text = header.toString().getBytes(StandardCharsets.UTF_8);
    Files.write(
        file,
        ByteBuffer.allocate(8 + text.length + data.size())
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(text.length)
            .put(text)
            .put(data.toByteArray())
            .array());
  }

  /** Nearest 16-bit float, ties to even, of a value below 65504. */
  private static short half(float value) {
    int bits = Float.floatToRawIntBits(value);
    int magnitude = bits & 0x7FFFFFFF;
    int rounded =
        magnitude < SMALLEST_NORMAL_HALF
            ? (int) Math.rint(Math.scalb((double) Math.abs(value), 24))
            : (magnitude - (112 << 23) + 0xFFF + ((magnitude >> 13) & 1)) >> 13;
    return (short) ((bits >>> 31 << 15) | rounded);
  }
}
