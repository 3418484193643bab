package io.sparkmoe.layer;

import java.util.Arrays;

/**
 * Which of several matrices have a gradient that is still zero since the last optimizer step: the
 * next product then replaces it instead of reading it from memory. Threads may ask about different
 * matrices at once.
 */
final class ZeroGradients {

  private final boolean[] zero;

  /** Nothing is known to be zero. */
  ZeroGradients(int matrices) {
    zero = new boolean[matrices];
  }

  /** All gradients are zero. */
  void all() {
    Arrays.fill(zero, true);
  }

  /** Whether the gradient must be added to; from now on it must. */
  boolean accumulate(int matrix) {
    boolean accumulate = !zero[matrix];
    zero[matrix] = false;
    return accumulate;
  }
}
