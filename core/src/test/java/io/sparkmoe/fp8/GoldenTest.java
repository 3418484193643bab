package io.sparkmoe.fp8;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.GoldenCases;
import io.sparkmoe.checkpoint.SafetensorsReader;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.kernel.Fp8Granularity;
import io.sparkmoe.kernel.Fp8Scaling;
import io.sparkmoe.kernel.Fp8Tensor;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.ReferenceKernels;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.Bfloat16;
import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.PowerOfTwoScale;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/**
 * Codes and scales equal PyTorch's, bit for bit: every case with a file fp8.safetensors under the
 * test resources, or under the folder that {@code -Dgolden.dir} names. The case in the resources
 * was written by PyTorch 2.15.0.
 *
 * <p>What its tiles show: a row's last tile takes its scale from the columns that are there (300
 * columns make tiles of 128, 128 and 44), no lower clamp is applied (a tile of zeros has scale 1,
 * not 1e-4/448), and the power-of-two scale is the FP32 scale rounded up.
 */
class GoldenTest {

  private static final String FILE = "fp8.safetensors";

  @TestFactory
  Stream<DynamicTest> codesAndScalesEqualPyTorchs() {
    return GoldenCases.with(FILE).stream().flatMap(folder -> tests(folder.resolve(FILE)));
  }

  private interface Check {
    void run(SafetensorsReader file, Scope scope) throws IOException;
  }

  private static Stream<DynamicTest> tests(Path file) {
    String name = file.getParent().getFileName().toString();
    return Stream.of(
        test(name + ": E4M3 codes", file, (f, s) -> codes(f, s, "e4m3", Fp8Format.E4M3)),
        test(name + ": E5M2 codes", file, (f, s) -> codes(f, s, "e5m2", Fp8Format.E5M2)),
        test(name + ": BF16", file, GoldenTest::bfloat16),
        test(name + ": tiles with FP32 scales", file, GoldenTest::fp32Scales),
        test(name + ": tiles with power-of-two scales", file, GoldenTest::powerOfTwoScales));
  }

  private static DynamicTest test(String name, Path path, Check check) {
    return DynamicTest.dynamicTest(
        name,
        () -> {
          try (Arena arena = new Arena("golden", 1 << 28);
              Scope scope = arena.scope();
              SafetensorsReader file = SafetensorsReader.open(path)) {
            check.run(file, scope);
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        });
  }

  private static void codes(SafetensorsReader file, Scope scope, String name, Fp8Format format)
      throws IOException {
    Tensor codes = file.read("codes", scope);
    Tensor decoded = file.read(name + ".decoded", scope);
    for (int i = 0; i < codes.size(); i++) {
      // Float.equals: all NaNs are one value, the two zeros are not.
      assertThat(format.decode(codes.bytes().get(i)))
          .as("code %d", i)
          .isEqualTo(Float.valueOf(decoded.getFloat(i)));
    }
    Tensor values = file.read("cast.input", scope);
    Tensor expected = file.read("cast." + name, scope);
    for (int i = 0; i < values.size(); i++) {
      assertThat(format.encode(values.getFloat(i)))
          .as("value %s", values.get(i))
          .isEqualTo(expected.bytes().get(i));
    }
  }

  private static void bfloat16(SafetensorsReader file, Scope scope) throws IOException {
    Tensor values = file.read("cast.input", scope);
    Tensor expected = file.read("cast.bf16", scope);
    for (int i = 0; i < values.size(); i++) {
      assertThat(Bfloat16.encode(values.getFloat(i)))
          .as("value %s", values.get(i))
          .isEqualTo((short) expected.get(i));
    }
  }

  private static void fp32Scales(SafetensorsReader file, Scope scope) throws IOException {
    Tensor input = file.read("tile.input", scope);
    Tensor expectedScales = file.read("tile.scale_fp32", scope);
    Tensor expectedCodes = file.read("tile.codes_fp32", scope);
    Tensor codes = scope.allocate(expectedCodes.type(), expectedCodes.shape());
    Tensor scales = scope.allocate(expectedScales.type(), expectedScales.shape());
    TileCodec codec = new TileCodec(Fp8Format.E4M3);
    FloatBuffer scaleBuffer = scales.bytes().asFloatBuffer();
    int columns = input.cols();
    for (int row = 0; row < input.rows(); row++) {
      codec.encodeFp32Scales(
          codes.bytes(),
          row * columns,
          scaleBuffer,
          row * scales.cols(),
          input.bytes().asFloatBuffer(),
          row * columns,
          columns);
    }
    assertThat(codes.bytes()).isEqualTo(expectedCodes.bytes());
    assertThat(scales.bytes()).isEqualTo(expectedScales.bytes());

    FloatBuffer back = FloatBuffer.allocate(columns);
    codec.decodeFp32Scales(back, 0, codes.bytes(), 0, scaleBuffer, 0, columns);
    for (int i = 0; i < columns; i++) {
      assertThat(back.get(i))
          .isEqualTo(
              Fp8Format.E4M3.decode(codes.bytes().get(i)) * scales.getFloat(i / TileCodec.TILE));
    }
  }

  private static void powerOfTwoScales(SafetensorsReader file, Scope scope) throws IOException {
    Tensor input = file.read("tile.input", scope);
    Tensor expectedScales = file.read("tile.scale_pow2", scope);
    Tensor expectedCodes = file.read("tile.codes_pow2", scope);
    Fp8Scaling tiles = new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.TILE_1X128);
    try (ComputeEngine engine = ComputeEngine.open("golden", "reference", 1)) {
      for (Kernels kernels : List.of(new ReferenceKernels(), engine.kernels())) {
        Fp8Tensor kept = Fp8Tensor.allocate(scope, Fp8Format.E4M3, input.shape());
        kernels.quantize(null, kept, input, null, tiles, null);
        assertThat(kept.codes().bytes()).isEqualTo(expectedCodes.bytes());
        assertThat(kept.scales().size()).isEqualTo(expectedScales.size());
        for (int i = 0; i < expectedScales.size(); i++) {
          assertThat(PowerOfTwoScale.value(kept.scales().bytes().get(i)))
              .as("scale %d", i)
              .isEqualTo(expectedScales.getFloat(i));
        }
      }
    }
  }
}
