package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.PowerOfTwoScale;
import io.sparkmoe.tensor.Tensor;

/** Rounding to FP8 and back, one value after the other. Legend: R rows, N columns. */
final class ReferenceFp8 {

  private ReferenceFp8() {}

  /** The values that are rounded, by element. */
  @FunctionalInterface
  interface Values {
    float at(int element);
  }

  static void quantize(
      Tensor operand, Fp8Tensor kept, Tensor x, int[] rowStarts, Fp8Scaling scaling) {
    int[] groups = KernelArguments.groups(x, rowStarts);
    quantize(operand, kept, x.cols(), i -> (float) x.get(i), groups, scaling);
  }

  static void requantize(Tensor operand, Fp8Tensor x, int[] rowStarts, Fp8Scaling scaling) {
    int[] groups = KernelArguments.groups(x.codes(), rowStarts);
    quantize(operand, null, x.codes().cols(), i -> x.get(i), groups, scaling);
  }

  static void dequantize(Tensor values, Fp8Tensor x) {
    for (int i = 0; i < values.size(); i++) {
      values.set(i, x.get(i));
    }
  }

  static void quantize(
      Tensor operand, Fp8Tensor kept, int n, Values x, int[] groups, Fp8Scaling scaling) {
    for (int g = 0; g + 1 < groups.length; g++) {
      int height = Math.min(scaling.granularity().rows(), groups[g + 1] - groups[g]);
      int width = Math.min(scaling.granularity().columns(), n);
      for (int row = groups[g]; row < groups[g + 1]; row += height) {
        for (int column = 0; column < n; column += width) {
          int rowEnd = Math.min(groups[g + 1], row + height);
          int columnEnd = Math.min(n, column + width);
          tile(operand, kept, n, x, row, rowEnd, column, columnEnd, scaling.format());
        }
      }
    }
  }

  /** scale = 2^ceil(log2(max |x| / largest)); code = round(x / scale); operand = code * scale. */
  private static void tile(
      Tensor operand,
      Fp8Tensor kept,
      int n,
      Values x,
      int rowStart,
      int rowEnd,
      int columnStart,
      int columnEnd,
      Fp8Format format) {
    float largest = 0;
    for (int row = rowStart; row < rowEnd; row++) {
      for (int column = columnStart; column < columnEnd; column++) {
        float value = x.at(row * n + column);
        largest = Float.isFinite(value) ? Math.max(largest, Math.abs(value)) : largest;
      }
    }
    byte scale = PowerOfTwoScale.of(largest, format);
    for (int row = rowStart; row < rowEnd; row++) {
      for (int column = columnStart; column < columnEnd; column++) {
        int at = row * n + column;
        float value = x.at(at);
        byte code = format.encodeOrNan(value * PowerOfTwoScale.reciprocal(scale));
        if (operand != null) {
          operand.set(at, format.decode(code) * PowerOfTwoScale.value(scale));
        }
        if (kept != null) {
          kept.codes().bytes().put(at, code);
          kept.scales().bytes().put(kept.scaleAt(at), scale);
        }
      }
    }
  }
}
