package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;

/**
 * Matrices (O, I) of one shape, laid out for products with few rows: panels of {@link #WIDTH}
 * outputs, and within a panel one input channel after the other, so that a vector register holds
 * neighbouring outputs. A product then broadcasts inputs and adds up in registers, needs no sum
 * across lanes, and reads every weight once, front to back. Outputs that do not fill the last panel
 * are zeros.
 *
 * <p>Legend: E matrices, O outputs, I inputs, P panels of a matrix.
 *
 * @param values (E, P, I, WIDTH)
 * @param count E
 * @param outputs O
 * @param inputs I
 */
public record PanelMatrix(Tensor values, int count, int outputs, int inputs) {

  /** Outputs of a panel: two 512-bit registers of floats, enough chains to hide an addition. */
  public static final int WIDTH = 32;

  public PanelMatrix {
    KernelArguments.equal(
        "elements of " + values + " for " + count + " matrices (" + outputs + ", " + inputs + ")",
        (long) count * panels(outputs) * inputs * WIDTH,
        values.size());
  }

  /** Zeroed matrices. */
  public static PanelMatrix allocate(
      DType type, int count, int outputs, int inputs, Allocator allocator) {
    return new PanelMatrix(
        allocator.zeros(type, count, panels(outputs), inputs, WIDTH), count, outputs, inputs);
  }

  /** Panels P of a matrix. */
  public int panels() {
    return panels(outputs);
  }

  /** Bytes of the weights that a product with one of the matrices reads. */
  public long bytesOfOne() {
    return values.sizeBytes() / count;
  }

  private static int panels(int outputs) {
    return (outputs + WIDTH - 1) / WIDTH;
  }

  /** Element of {@code values} that holds output 0 of a panel for input 0. */
  int start(int matrix, int panel) {
    return (matrix * panels() + panel) * inputs * WIDTH;
  }

  /** Element of {@code values} that holds a weight. */
  int at(int matrix, int output, int input) {
    return start(matrix, output / WIDTH) + input * WIDTH + output % WIDTH;
  }
}
