package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.PowerOfTwoScale;
import io.sparkmoe.tensor.Tensor;

/**
 * Matrices (O, I) of one shape, laid out for products with few rows: panels of {@link #WIDTH}
 * outputs, and within a panel one group of inputs after the other, so that a vector register holds
 * neighbouring outputs. A product then broadcasts inputs and adds up in registers, needs no sum
 * across lanes, and reads every weight once, front to back. Outputs that do not fill the last panel
 * and inputs that do not fill the last group are zeros.
 *
 * <p>A group is as many inputs as fill 32 bits for one output: one F32, two BF16, four F8_E4M3.
 * Reading narrower weights takes that much less memory traffic, which is what bounds the speed of a
 * product with one row. FP8 weights are codes times the power-of-two scale of their block of 128
 * outputs and 128 inputs ({@link Fp8Granularity#BLOCK_128X128}); the panels of a block repeat its
 * byte.
 *
 * <p>Legend: E matrices, O outputs, I inputs, P panels of a matrix, G groups of g inputs.
 *
 * @param values F64, F32, BF16 or F8_E4M3 (E, P, G, WIDTH, g)
 * @param scales U8 (E, P, ceil(I/128)) of FP8 weights; null for other types
 * @param count E
 * @param outputs O
 * @param inputs I
 */
public record PanelMatrix(Tensor values, Tensor scales, int count, int outputs, int inputs) {

  /** Outputs of a panel: two 512-bit registers of floats, enough chains to hide an addition. */
  public static final int WIDTH = 32;

  /** Inputs that share a scale. */
  static final int SCALE_INPUTS = Fp8Granularity.SCALE_COLUMNS;

  private static final int GROUP_BYTES = 4;

  public PanelMatrix {
    KernelArguments.equal(
        () ->
            "elements of "
                + values
                + " for "
                + count
                + " matrices ("
                + outputs
                + ", "
                + inputs
                + ")",
        (long) count * panels(outputs) * padded(values.type(), inputs) * WIDTH,
        values.size());
    if ((values.type() == DType.F8_E4M3) != (scales != null)) {
      throw new IllegalArgumentException(
          "weights " + values + " must have scales just if they are F8_E4M3, got " + scales);
    }
    if (scales != null) {
      KernelArguments.typed(scales, DType.U8);
      KernelArguments.equal(
          () -> "scales of " + values,
          (long) count * panels(outputs) * Fp8Tensor.scalesPerRow(inputs),
          scales.size());
    }
  }

  /** Zeroed matrices. */
  public static PanelMatrix allocate(
      DType type, int count, int outputs, int inputs, Allocator allocator) {
    int group = group(type);
    int panels = panels(outputs);
    Tensor values =
        allocator.zeros(type, count, panels, padded(type, inputs) / group, WIDTH, group);
    Tensor scales =
        type == DType.F8_E4M3
            ? allocator.zeros(DType.U8, count, panels, Fp8Tensor.scalesPerRow(inputs))
            : null;
    return new PanelMatrix(values, scales, count, outputs, inputs);
  }

  /** Panels P of a matrix. */
  public int panels() {
    return panels(outputs);
  }

  /** Bytes of the weights that a product with one of the matrices reads. */
  public long bytesOfOne() {
    return (values.sizeBytes() + (scales == null ? 0 : scales.sizeBytes())) / count;
  }

  private static int panels(int outputs) {
    return (outputs + WIDTH - 1) / WIDTH;
  }

  private static int group(DType type) {
    return Math.max(1, GROUP_BYTES / type.sizeBytes());
  }

  /** Inputs with the zeros that fill the last group. */
  int depth() {
    return padded(values.type(), inputs);
  }

  private static int padded(DType type, int inputs) {
    int group = group(type);
    return (inputs + group - 1) / group * group;
  }

  /** Inputs g of a group. */
  int group() {
    return group(values.type());
  }

  /** Element of {@code values} that holds output 0 of a panel for input 0. */
  int start(int matrix, int panel) {
    return (matrix * panels() + panel) * depth() * WIDTH;
  }

  /** Element of {@code values} that holds a weight. */
  int at(int matrix, int output, int input) {
    int group = group();
    return start(matrix, output / WIDTH)
        + input / group * group * WIDTH
        + output % WIDTH * group
        + input % group;
  }

  /** Element of {@code scales} for block {@code block} of 128 inputs. */
  int scaleAt(int matrix, int panel, int block) {
    return (matrix * panels() + panel) * Fp8Tensor.scalesPerRow(inputs) + block;
  }

  /** Scale of a panel's weights of block {@code block} of 128 inputs. */
  float scale(int matrix, int panel, int block) {
    return PowerOfTwoScale.value(scales.bytes().get(scaleAt(matrix, panel, block)));
  }
}
