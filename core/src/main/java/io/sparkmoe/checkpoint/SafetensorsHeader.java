package io.sparkmoe.checkpoint;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.tensor.Elements;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The header of a safetensors file: 8 bytes of little-endian length N, N bytes of JSON that gives
 * every tensor its type, shape and byte range, then the data without gaps. Nothing in a header is
 * believed before it has been checked against the size of the file.
 *
 * @param tensors by name, in the order of their data
 * @param metadata the file's free text entries
 * @param dataStartBytes offset of the data in the file
 */
record SafetensorsHeader(
    Map<String, TensorInfo> tensors, Map<String, String> metadata, long dataStartBytes) {

  private static final int LENGTH_BYTES = 8;

  /** The format's own limit of a header's length. */
  private static final long MAX_HEADER_BYTES = 100_000_000;

  private static final String METADATA = "__metadata__";

  private static final ObjectMapper JSON =
      JsonMapper.builder()
          .enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  /**
   * @param file the file's name for messages
   * @param in at the start of the file
   * @param fileBytes size of the file
   */
  static SafetensorsHeader read(String file, InputStream in, long fileBytes) throws IOException {
    byte[] length = in.readNBytes(LENGTH_BYTES);
    if (length.length < LENGTH_BYTES || fileBytes < LENGTH_BYTES) {
      throw new CorruptFileException(
          file, "it has " + fileBytes + " bytes, a safetensors file has at least 8");
    }
    long headerBytes = ByteBuffer.wrap(length).order(ByteOrder.LITTLE_ENDIAN).getLong();
    long most = Math.min(MAX_HEADER_BYTES, fileBytes - LENGTH_BYTES);
    if (headerBytes < 2 || headerBytes > most) {
      throw new CorruptFileException(
          file,
          "its header claims "
              + Long.toUnsignedString(headerBytes)
              + " bytes, expected 2 to "
              + most);
    }
    byte[] text = in.readNBytes((int) headerBytes);
    if (text.length < headerBytes) {
      throw new CorruptFileException(
          file, "it ends inside its header of " + headerBytes + " bytes");
    }
    long dataStart = LENGTH_BYTES + headerBytes;
    return parse(file, text, dataStart, fileBytes - dataStart);
  }

  private static SafetensorsHeader parse(String file, byte[] text, long dataStart, long dataBytes)
      throws IOException {
    JsonNode root;
    try {
      root = JSON.readTree(text);
    } catch (IOException e) {
      String reason =
          e instanceof JsonProcessingException json ? json.getOriginalMessage() : e.getMessage();
      throw new CorruptFileException(
          file, "its header is not JSON (" + reason.lines().findFirst().orElse("") + ")", e);
    }
    if (!(root instanceof ObjectNode object)) {
      throw new CorruptFileException(file, "its header is no JSON object");
    }
    Map<String, String> metadata = new LinkedHashMap<>();
    List<TensorInfo> tensors = new ArrayList<>();
    for (Map.Entry<String, JsonNode> entry : object.properties()) {
      if (entry.getKey().equals(METADATA)) {
        entry
            .getValue()
            .properties()
            .forEach(pair -> metadata.put(pair.getKey(), pair.getValue().asText()));
      } else {
        tensors.add(tensor(file, entry.getKey(), entry.getValue()));
      }
    }
    tensors.sort(
        Comparator.comparingLong(TensorInfo::offsetBytes).thenComparingLong(TensorInfo::endBytes));
    return new SafetensorsHeader(requireSeamless(file, tensors, dataBytes), metadata, dataStart);
  }

  private static TensorInfo tensor(String file, String name, JsonNode node)
      throws CorruptFileException {
    JsonNode offsets = node.path("data_offsets");
    if (!node.path("dtype").isTextual()
        || !node.path("shape").isArray()
        || offsets.size() != 2
        || !offsets.get(0).canConvertToLong()
        || !offsets.get(1).canConvertToLong()
        || !offsets.get(0).isIntegralNumber()
        || !offsets.get(1).isIntegralNumber()) {
      throw new CorruptFileException(
          file, "tensor " + name + " lacks a dtype, a shape or two data_offsets");
    }
    SafetensorsType type = type(file, name, node.path("dtype").textValue());
    List<Integer> shape = new ArrayList<>();
    long sizeBytes = type.sizeBytes();
    for (JsonNode length : node.path("shape")) {
      if (!length.isIntegralNumber() || !length.canConvertToInt() || length.intValue() < 0) {
        throw new CorruptFileException(
            file,
            "tensor "
                + name
                + " has a dimension "
                + length
                + ", expected 0 to "
                + Integer.MAX_VALUE);
      }
      shape.add(length.intValue());
      try {
        sizeBytes = Math.multiplyExact(sizeBytes, length.longValue());
      } catch (ArithmeticException e) {
        throw new CorruptFileException(
            file, "tensor " + name + " has an impossible shape " + node.path("shape"), e);
      }
    }
    long begin = offsets.get(0).longValue();
    long end = offsets.get(1).longValue();
    if (begin < 0 || end < begin || end - begin != sizeBytes) {
      throw new CorruptFileException(
          file,
          "tensor "
              + name
              + " lies at ["
              + begin
              + ", "
              + end
              + "), expected "
              + sizeBytes
              + " bytes for "
              + type
              + shape);
    }
    return new TensorInfo(name, type, shape, begin, sizeBytes);
  }

  private static SafetensorsType type(String file, String name, String dtype)
      throws CorruptFileException {
    for (SafetensorsType type : SafetensorsType.values()) {
      if (type.name().equals(dtype)) {
        return type;
      }
    }
    throw new CorruptFileException(
        file,
        "tensor "
            + name
            + " has the dtype "
            + dtype
            + ", expected one of "
            + List.of(SafetensorsType.values()));
  }

  private static Map<String, TensorInfo> requireSeamless(
      String file, List<TensorInfo> tensors, long dataBytes) throws CorruptFileException {
    Map<String, TensorInfo> byName = new LinkedHashMap<>();
    long position = 0;
    for (TensorInfo tensor : tensors) {
      if (tensor.offsetBytes() != position) {
        throw new CorruptFileException(
            file,
            "tensor "
                + tensor.name()
                + " starts at "
                + tensor.offsetBytes()
                + ", the one before it ends at "
                + position);
      }
      position = tensor.endBytes();
      byName.put(tensor.name(), tensor);
    }
    if (position != dataBytes) {
      throw new CorruptFileException(
          file,
          "its tensors take "
              + position
              + " bytes, the file holds "
              + dataBytes
              + " after its header");
    }
    return Collections.unmodifiableMap(byName);
  }

  /**
   * The bytes of a header for tensors that follow in the map's order, padded so that data is
   * aligned to 8 bytes.
   */
  static byte[] format(Map<String, ? extends Elements> tensors, Map<String, String> metadata) {
    ObjectNode root = JSON.createObjectNode();
    if (!metadata.isEmpty()) {
      ObjectNode pairs = root.putObject(METADATA);
      metadata.forEach(pairs::put);
    }
    long position = 0;
    for (Map.Entry<String, ? extends Elements> entry : tensors.entrySet()) {
      Elements tensor = entry.getValue();
      ObjectNode node = root.putObject(entry.getKey());
      node.put("dtype", SafetensorsType.of(tensor.type()).name());
      ArrayNode shape = node.putArray("shape");
      for (int length : tensor.shape()) {
        shape.add(length);
      }
      node.putArray("data_offsets").add(position).add(position + tensor.sizeBytes());
      position += tensor.sizeBytes();
    }
    byte[] text = root.toString().getBytes(StandardCharsets.UTF_8);
    int padded = (text.length + LENGTH_BYTES - 1) / LENGTH_BYTES * LENGTH_BYTES;
    ByteBuffer header = ByteBuffer.allocate(LENGTH_BYTES + padded).order(ByteOrder.LITTLE_ENDIAN);
    header.putLong(padded).put(text);
    while (header.hasRemaining()) {
      header.put((byte) ' ');
    }
    return header.array();
  }
}
