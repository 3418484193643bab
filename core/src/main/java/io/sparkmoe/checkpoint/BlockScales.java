package io.sparkmoe.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import io.sparkmoe.io.CorruptFileException;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;

/**
 * Scales of F8_E4M3 weights as DeepSeek-V3's files hold them: beside {@code X.weight} (O, I) lies
 * {@code X.weight_scale_inv} (ceil(O/R), ceil(I/C)), and every value of a block of R rows and C
 * columns is its code times the block's scale. Blocks at the lower and right edge may be cut off.
 * V3.1's scales are powers of two, in the same place: as F32, or as F8_E8M0.
 *
 * @param blockRows R, 128 in all published models
 * @param blockColumns C
 */
record BlockScales(int blockRows, int blockColumns) {

  private static final int PUBLISHED = 128;

  /**
   * What {@code quantization_config} of config.json says; the published size when it is absent.
   *
   * @throws IllegalArgumentException when it describes another quantisation
   */
  static BlockScales of(JsonNode quantization) {
    if (quantization.isMissingNode() || quantization.isNull()) {
      return new BlockScales(PUBLISHED, PUBLISHED);
    }
    String method = quantization.path("quant_method").asText("fp8");
    String format = quantization.path("fmt").asText("e4m3");
    JsonNode block = quantization.path("weight_block_size");
    int rows = block.isMissingNode() ? PUBLISHED : block.path(0).asInt();
    int columns = block.isMissingNode() ? PUBLISHED : block.path(1).asInt();
    if (!method.equals("fp8") || !format.equals("e4m3") || rows < 1 || columns < 1) {
      throw new IllegalArgumentException(
          "quantization_config is "
              + method
              + " "
              + format
              + " in blocks of "
              + block
              + ", expected fp8 e4m3 in blocks such as [128,128]; take the model in BF16");
    }
    return new BlockScales(rows, columns);
  }

  /** Name of the scales of a weight. */
  static String nameOf(String weight) {
    return weight + "_scale_inv";
  }

  /**
   * Refuses scales that do not belong to a weight.
   *
   * @param file of the scales, for messages
   */
  void check(TensorInfo weight, TensorInfo scale, String file) {
    boolean matrix = weight.shape().size() == 2;
    int rows = matrix ? blocks(weight.shape().get(0), blockRows) : 0;
    int columns = matrix ? blocks(weight.shape().get(1), blockColumns) : 0;
    if (!matrix
        || scale.shape().size() != 2
        || scale.shape().get(0) != rows
        || scale.shape().get(1) != columns
        || !(scale.type() == SafetensorsType.F8_E8M0 || scale.type() == SafetensorsType.F32)) {
      throw new IllegalArgumentException(
          "tensor "
              + scale.name()
              + " of "
              + file
              + " is "
              + scale.type()
              + scale.shape()
              + ", expected F32["
              + rows
              + ", "
              + columns
              + "] for a weight "
              + weight.shape()
              + " in blocks of "
              + blockRows
              + " x "
              + blockColumns
              + "; take the files of one model");
    }
  }

  /**
   * Multiplies decoded codes by their scales.
   *
   * @param values (O, I), codes on entry, weights on return
   * @param reader of the file that holds the scales
   * @param scale what its header says of them
   * @throws CorruptFileException when a scale is no positive number
   */
  void multiply(Tensor values, SafetensorsReader reader, TensorInfo scale) throws IOException {
    float[] factors = factors(reader, scale);
    int columns = values.cols();
    int across = blocks(columns, blockColumns);
    for (int row = 0; row < values.rows(); row++) {
      int firstScale = row / blockRows * across;
      for (int column = 0; column < columns; column++) {
        int at = row * columns + column;
        values.set(at, values.get(at) * factors[firstScale + column / blockColumns]);
      }
    }
  }

  private static float[] factors(SafetensorsReader reader, TensorInfo scale) throws IOException {
    try (Arena arena =
            new Arena("scales", 2L * scale.numElements() * Float.BYTES + Short.MAX_VALUE);
        Tensor read = arena.allocate(DType.F32, scale.dims())) {
      reader.read(scale.name(), read);
      float[] factors = read.toFloatArray();
      for (float factor : factors) {
        if (!(factor > 0) || Float.isInfinite(factor)) {
          throw new CorruptFileException(
              reader.location(),
              "tensor " + scale.name() + " holds " + factor + ", expected positive scales");
        }
      }
      return factors;
    }
  }

  private static int blocks(int size, int block) {
    return (size + block - 1) / block;
  }
}
