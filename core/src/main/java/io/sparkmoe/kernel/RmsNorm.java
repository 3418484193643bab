package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.Tensor;

/**
 * Root-mean-square norm over the last dimension, see {@link Kernels#rmsNorm}.
 *
 * <p>Legend: T tokens, D width.
 *
 * @param kernels what computes
 * @param weight (D)
 * @param eps added to the mean square
 */
public record RmsNorm(Kernels kernels, Weight weight, double eps) {

  /**
   * What the backward needs, and the result.
   *
   * @param x input, (T, D)
   * @param inverseRms of each row of x, (T)
   * @param y output, (T, D)
   */
  public record Saved(Tensor x, Tensor inverseRms, Tensor y) {}

  /** Normalises x (T, D), which must stay unchanged until the backward. */
  public Saved forward(Tensor x, Allocator allocator) {
    return forward(x, allocator, allocator);
  }

  /**
   * As above.
   *
   * @param saved owns what the backward needs
   * @param outputs owns y, which the backward does not need
   */
  public Saved forward(Tensor x, Allocator saved, Allocator outputs) {
    Tensor inverseRms = saved.allocate(x.type(), x.rows());
    Tensor y = outputs.allocate(x.type(), x.shape());
    kernels.rmsNorm(y, inverseRms, x, weight.value(), eps);
    return new Saved(x, inverseRms, y);
  }

  /** Backward of {@link #forward}: adds to dx (T, D) and to the weight's gradient; dy (T, D). */
  public void backward(Tensor dx, Tensor dy, Saved saved) {
    kernels.rmsNormBackward(dx, weight.gradient(), dy, saved.x, saved.inverseRms, weight.value());
  }
}
