package io.sparkmoe.kernel;

/**
 * What rounding to FP8 did to the values of one kind of tensor, added up over quantisations. For
 * one thread; a quantisation that is given none does no counting.
 */
public final class Fp8Statistics {

  private long values;
  private long underflowed;
  private long saturated;
  private float largest;

  /**
   * Counts one value.
   *
   * @param value before rounding
   * @param rounded after; NaN for what is not finite
   */
  void add(float value, float rounded) {
    values++;
    if (value != 0 && rounded == 0) {
      underflowed++;
    }
    if (Float.isFinite(value)) {
      largest = Math.max(largest, Math.abs(value));
    } else {
      saturated++;
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
