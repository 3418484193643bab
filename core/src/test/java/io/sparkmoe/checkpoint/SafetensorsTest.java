package io.sparkmoe.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SafetensorsTest {

  @TempDir Path folder;
  private Arena arena;
  private Scope scope;

  @BeforeEach
  void openArena() {
    arena = new Arena("test", 64L << 20);
    scope = arena.scope();
  }

  @AfterEach
  void closeArena() {
    scope.close();
    arena.close();
  }

  @Test
  void everyTypeReadsBackAsWritten() throws Exception {
    Map<String, Tensor> written = new LinkedHashMap<>();
    for (DType type : DType.values()) {
      Tensor tensor = scope.allocate(type, 3, 5);
      for (int i = 0; i < tensor.size(); i++) {
        tensor.set(i, i + (type.isFloating() ? 0.5 : 0));
      }
      written.put(type.name(), tensor);
    }
    written.put("empty", scope.allocate(DType.F32, 0, 7));
    written.put("scalar", scope.zeros(DType.F32));

    FileEntry entry = SafetensorsWriter.write(new LocalStore(folder), "t.safetensors", written);

    Path file = folder.resolve("t.safetensors");
    assertThat(entry.sizeBytes()).isEqualTo(Files.size(file));
    assertThat(entry.sha256()).isEqualTo(sha256(Files.readAllBytes(file)));
    try (SafetensorsReader reader = SafetensorsReader.open(file)) {
      assertThat(reader.names()).containsExactlyElementsOf(written.keySet());
      assertThat(reader.metadata()).containsEntry("format", "pt");
      for (String name : written.keySet()) {
        Tensor read = reader.read(name, scope);
        assertThat(read.toString()).isEqualTo(written.get(name).toString());
        assertThat(read.toFloatArray()).containsExactly(written.get(name).toFloatArray());
      }
    }
  }

  @Test
  void tensorsLongerThanABufferReadInAnyOrder() throws Exception {
    Tensor large = scope.allocate(DType.F32, 600_000);
    for (int i = 0; i < large.size(); i++) {
      large.setFloat(i, i);
    }
    Tensor small = scope.allocate(DType.F32, 2);
    small.copyFrom(7, 8);
    Map<String, Tensor> written = new LinkedHashMap<>();
    written.put("large", large);
    written.put("small", small);
    SafetensorsWriter.write(new LocalStore(folder), "t", written);

    try (SafetensorsReader reader = SafetensorsReader.open(folder.resolve("t"))) {
      assertThat(reader.read("small", scope).toFloatArray()).containsExactly(7, 8);
      Tensor inDouble = scope.allocate(DType.F64, 600_000);
      reader.read("large", inDouble);
      for (int i = 0; i < large.size(); i++) {
        assertThat(inDouble.get(i)).isEqualTo(i);
      }
    }
  }

  @Test
  void wideIntegersReadAsIntsAndTooLargeOnesAreRefused() throws IOException {
    ByteBuffer data = ByteBuffer.allocate(8 + 8 + 4).order(ByteOrder.LITTLE_ENDIAN);
    data.putLong(-5).putLong(1L << 40).putShort((short) -2).putShort((short) 300);
    Path file =
        file(
            "{\"ok\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
                + "\"big\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[8,16]},"
                + "\"short\":{\"dtype\":\"I16\",\"shape\":[2],\"data_offsets\":[16,20]}}",
            data.array());

    try (SafetensorsReader reader = SafetensorsReader.open(file)) {
      assertThat(reader.read("ok", scope).toIntArray()).containsExactly(-5);
      assertThat(reader.read("short", scope).toIntArray()).containsExactly(-2, 300);
      assertThatThrownBy(() -> reader.read("big", scope))
          .isInstanceOf(CorruptFileException.class)
          .hasMessageContaining("tensor big holds 1099511627776");
    }
  }

  @Test
  void anotherShapeOrKindOfTypeIsRefused() throws IOException {
    Path file =
        file("{\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}", new byte[24]);
    try (SafetensorsReader reader = SafetensorsReader.open(file)) {
      assertThatThrownBy(() -> reader.read("w", scope.allocate(DType.F32, 3, 2)))
          .hasMessageContaining("tensor w of " + file + " is F32[2, 3], expected F32[3, 2]");
      assertThatThrownBy(() -> reader.read("w", scope.allocate(DType.I32, 2, 3)))
          .hasMessageContaining("expected I32[2, 3]");
      assertThatThrownBy(() -> reader.info("v")).hasMessage(file + " holds no tensor v");
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      textBlock =
          """
          []                                                                | its header is no JSON object
          {"w":                                                             | its header is not JSON
          {} x                                                              | its header is not JSON
          {"w":{"dtype":"F32","shape":[1]}}                                 | lacks a dtype, a shape or two data_offsets
          {"w":{"dtype":"F32","shape":[1],"data_offsets":[0.0,4]}}          | lacks a dtype, a shape or two data_offsets
          {"w":{"dtype":"F32","shape":[1],"data_offsets":[0,1e30]}}         | lacks a dtype, a shape or two data_offsets
          {"w":{"dtype":"Q4","shape":[8],"data_offsets":[0,8]}}             | tensor w has the dtype Q4, expected one of
          {"w":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}           | tensor w has a dimension -2
          {"w":{"dtype":"F32","shape":[4294967298],"data_offsets":[0,8]}}   | tensor w has a dimension 4294967298
          {"w":{"dtype":"F32","shape":[2147483647,2147483647,2147483647],"data_offsets":[0,8]}} | an impossible shape
          {"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}            | lies at [0, 8), expected 12 bytes for F32[3]
          {"w":{"dtype":"F32","shape":[0],"data_offsets":[8,0]}}            | tensor w lies at [8, 0)
          {"w":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}           | tensor w lies at [-4, 0)
          {"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}            | starts at 4, the one before it ends at 0
          {"v":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}} | tensor w starts at 4, the one before it ends at 8
          {"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}            | its tensors take 4 bytes, the file holds 8
          {"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}           | its tensors take 16 bytes, the file holds 8
          {"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} | Duplicate field 'w'
          """)
  void aHeaderThatLiesIsRefusedInOneSentence(String header, String problem) throws IOException {
    Path file = file(header, new byte[8]);

    assertThatThrownBy(() -> SafetensorsReader.open(file))
        .isInstanceOf(CorruptFileException.class)
        .hasMessageStartingWith(file + " is damaged: ")
        .hasMessageContaining(problem)
        .hasMessageNotContaining("\n");
  }

  @Test
  void aHeaderLengthIsNeverTrusted() throws IOException {
    for (long length : new long[] {0, 1, 9, 1L << 40, -1, Long.MIN_VALUE}) {
      Path file = folder.resolve("length" + length);
      Files.write(
          file,
          ByteBuffer.allocate(16)
              .order(ByteOrder.LITTLE_ENDIAN)
              .putLong(length)
              .put("{}      ".getBytes())
              .array());
      assertThatThrownBy(() -> SafetensorsReader.open(file))
          .isInstanceOf(CorruptFileException.class)
          .hasMessageContaining(
              "its header claims " + Long.toUnsignedString(length) + " bytes, expected 2 to 8");
    }
    Path stub = folder.resolve("stub");
    Files.write(stub, new byte[5]);
    assertThatThrownBy(() -> SafetensorsReader.open(stub)).hasMessageContaining("it has 5 bytes");
  }

  @Test
  void everyTruncationOfAFileIsNoticedAtOpening() throws Exception {
    Tensor tensor = scope.zeros(DType.F32, 4);
    SafetensorsWriter.write(new LocalStore(folder), "whole", Map.of("w", tensor));
    byte[] whole = Files.readAllBytes(folder.resolve("whole"));
    for (int length = 0; length < whole.length; length++) {
      Path cut = folder.resolve("cut");
      Files.write(cut, java.util.Arrays.copyOf(whole, length));
      assertThatThrownBy(() -> SafetensorsReader.open(cut))
          .as("first %d of %d bytes", length, whole.length)
          .isInstanceOf(CorruptFileException.class);
    }
  }

  private Path file(String header, byte[] data) throws IOException {
    byte[] text = header.getBytes(StandardCharsets.UTF_8);
    Path file = folder.resolve("made.safetensors");
    Files.write(
        file,
        ByteBuffer.allocate(8 + text.length + data.length)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(text.length)
            .put(text)
            .put(data)
            .array());
    return file;
  }

  private static String sha256(byte[] bytes) throws Exception {
    return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
  }
}
