package io.sparkmoe.model;

import static org.assertj.core.api.Assertions.assertThat;

import io.sparkmoe.tensor.Tensor;
import java.util.function.DoubleSupplier;
import java.util.random.RandomGenerator;

/**
 * Compares a gradient with the central difference of a loss, in double, on a seeded subset of
 * entries. With a step of 1e-5 the difference is good to about 1e-9 of a loss near one; the
 * relative bound is a thousand times that.
 */
final class GradientCheck {

  private static final double STEP = 1e-5;
  private static final double RELATIVE = 1e-6;
  private static final double ABSOLUTE = 2e-9;

  private GradientCheck() {}

  /**
   * @param name shown on failure
   * @param value what the loss depends on, F64
   * @param gradient claimed gradient, same shape
   * @param loss recomputes the loss from the current values
   * @param samples entries to check, or all when there are fewer
   */
  static void check(
      String name,
      Tensor value,
      Tensor gradient,
      DoubleSupplier loss,
      int samples,
      RandomGenerator random) {
    boolean all = value.size() <= samples;
    for (int sample = 0; sample < Math.min(samples, value.size()); sample++) {
      int index = all ? sample : random.nextInt(value.size());
      double saved = value.get(index);
      value.set(index, saved + STEP);
      double above = loss.getAsDouble();
      value.set(index, saved - STEP);
      double below = loss.getAsDouble();
      value.set(index, saved);
      double numeric = (above - below) / (2 * STEP);
      double analytic = gradient.get(index);
      double bound = ABSOLUTE + RELATIVE * (Math.abs(numeric) + Math.abs(analytic));
      assertThat(Math.abs(numeric - analytic))
          .as("%s[%d]: gradient %.12g, central difference %.12g", name, index, analytic, numeric)
          .isLessThanOrEqualTo(bound);
    }
  }
}
