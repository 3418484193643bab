package io.sparkmoe.layer;

import io.sparkmoe.tensor.Tensor;
import java.util.Arrays;

/**
 * Which of several matrices have a gradient that an optimizer step has used up: the next product
 * replaces it, so that it is neither cleared nor read from memory. Threads may ask about different
 * matrices at once.
 */
final class StaleGradients {

  private final boolean[] stale;

  /** No gradient is stale. */
  StaleGradients(int matrices) {
    stale = new boolean[matrices];
  }

  /** All gradients are stale. */
  void all() {
    Arrays.fill(stale, true);
  }

  /** Whether the gradient must be added to, and not replaced; from now on it must. */
  boolean accumulate(int matrix) {
    boolean accumulate = !stale[matrix];
    stale[matrix] = false;
    return accumulate;
  }

  /**
   * Sets gradients to zero that are still stale after a backward, as their matrices met no row.
   *
   * @param gradients each (matrices, O, I)
   */
  void clear(Tensor... gradients) {
    for (int matrix = 0; matrix < stale.length; matrix++) {
      if (!accumulate(matrix)) {
        for (Tensor gradient : gradients) {
          ExpertRows.matrix(gradient, matrix).zero();
        }
      }
    }
  }
}
