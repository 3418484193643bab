package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.Tensor;

/** SwiGLU between two products in FP8 by plain loops. R rows, F width. */
final class ReferenceGatedFp8 {

  private static final Fp8Scaling ROWS = new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.TILE_1X128);
  private static final Fp8Scaling COLUMNS =
      new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.TILE_128X1);

  private ReferenceGatedFp8() {}

  static void forward(Tensor hidden, Fp8Tensor kept, Tensor gateUp, Tensor weight) {
    int rows = hidden.rows();
    int f = hidden.cols();
    float[] h = new float[rows * f];
    for (int i = 0; i < h.length; i++) {
      // h = w g sigmoid(g) u
      int row = i / f;
      double w = weight == null ? 1 : weight.get(row);
      double g = gateUp.get(2 * row * f + i % f);
      double u = gateUp.get((2 * row + 1) * f + i % f);
      h[i] = (float) (w * g / (1 + Math.exp(-g)) * u);
    }
    int[] all = {0, rows};
    ReferenceFp8.quantize(null, kept, f, i -> (float) gateUp.get(i), new int[] {0, 2 * rows}, ROWS);
    ReferenceFp8.quantize(hidden, null, f, i -> h[i], all, ROWS);
  }

  static void backward(
      Tensor dGateUp,
      Tensor dGateUpTransposed,
      Tensor hiddenTransposed,
      Tensor dWeight,
      Tensor dHidden,
      Fp8Tensor kept,
      Tensor weight,
      int[] groups) {
    int rows = dHidden.rows();
    int f = dHidden.cols();
    float[] h = new float[rows * f];
    float[] both = new float[2 * rows * f];
    for (int row = 0; row < rows; row++) {
      double w = weight == null ? 1 : weight.get(row);
      double dw = 0;
      for (int i = 0; i < f; i++) {
        // forward: h = w g s u with s = sigmoid(g); so dw = sum dh g s u,
        // dg = w dh u s (1 + g (1 - s)) and du = w dh g s
        double g = kept.get(2 * row * f + i);
        double u = kept.get((2 * row + 1) * f + i);
        double s = 1 / (1 + Math.exp(-g));
        double d = dHidden.get(row * f + i);
        dw += d * g * s * u;
        both[2 * row * f + i] = (float) (w * d * u * s * (1 + g * (1 - s)));
        both[(2 * row + 1) * f + i] = (float) (w * d * g * s);
        h[row * f + i] = (float) (w * g * s * u);
      }
      if (dWeight != null) {
        dWeight.set(row, dw);
      }
    }
    // Gate and up of a row are two rows of F, so that no tile holds values of both.
    ReferenceFp8.quantize(dGateUp, null, f, i -> both[i], new int[] {0, 2 * rows}, ROWS);
    ReferenceFp8.quantize(dGateUpTransposed, null, 2 * f, i -> both[i], groups, COLUMNS);
    ReferenceFp8.quantize(hiddenTransposed, null, f, i -> h[i], groups, COLUMNS);
  }
}
