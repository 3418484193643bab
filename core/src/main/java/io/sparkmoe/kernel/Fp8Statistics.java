package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;

/**
 * What rounding to FP8 did to the values of one kind of tensor, added up over quantisations. For
 * one thread; a quantisation that is given none does no counting.
 */
public final class Fp8Statistics {

  private long values;
  private long underflowed;
  private long saturated;
  private float largest;

  /** Counts what {@link Kernels#quantize} has done; {@code statistics} may be null. */
  static void count(
      Fp8Statistics statistics, Tensor operand, Fp8Tensor kept, Tensor x, int[] rowStarts) {
    if (statistics != null) {
      Values after = operand == null ? kept::get : i -> (float) operand.get(i);
      statistics.add(x, rowStarts, i -> (float) x.get(i), after);
    }
  }

  /** Counts what {@link Kernels#requantize} has done; {@code statistics} may be null. */
  static void count(Fp8Statistics statistics, Tensor operand, Fp8Tensor x, int[] rowStarts) {
    if (statistics != null) {
      statistics.add(x.codes(), rowStarts, x::get, i -> (float) operand.get(i));
    }
  }

  private void add(Tensor x, int[] rowStarts, Values before, Values after) {
    int[] groups = KernelArguments.groups(x, rowStarts);
    add(groups[0] * x.cols(), groups[groups.length - 1] * x.cols(), before, after);
  }

  /** Values by element. */
  @FunctionalInterface
  private interface Values {
    float at(int element);
  }

  /**
   * Counts elements [first, end).
   *
   * @param before values before rounding
   * @param after values after; NaN for what is not finite
   */
  private void add(int first, int end, Values before, Values after) {
    values += end - first;
    for (int i = first; i < end; i++) {
      float value = before.at(i);
      if (Float.isFinite(value)) {
        largest = Math.max(largest, Math.abs(value));
        underflowed += value != 0 && after.at(i) == 0 ? 1 : 0;
      } else {
        saturated++;
      }
    }
  }

  /** Values seen. */
  public long values() {
    return values;
  }

  /** Values other than zero that became zero. */
  public long underflowed() {
    return underflowed;
  }

  /**
   * Values beyond every scale, which became NaN: infinities and NaN. A finite value never
   * saturates, because its scale is taken from the largest of its tile.
   */
  public long saturated() {
    return saturated;
  }

  /** Largest finite magnitude. */
  public float largest() {
    return largest;
  }

  /** Forgets all. */
  public void clear() {
    values = 0;
    underflowed = 0;
    saturated = 0;
    largest = 0;
  }
}
