package io.sparkmoe.kernel;

import jdk.incubator.vector.FloatVector;

/**
 * The inner loop of a product with a decoded panel of {@link PanelMatrix}, for one number of rows.
 * Every implementation is called through this interface, so that it is compiled by itself: together
 * they exceed what the compiler is willing to inline, and vectors that cross a call become objects.
 */
@FunctionalInterface
interface PanelTile {

  /** Rows of the largest tile: sixteen sums, two weights and an input fit the 32 registers. */
  int MOST_ROWS = 8;

  /** Rows of the next tile: 8, 4, 2 or 1. */
  static int rows(int left) {
    return Math.min(MOST_ROWS, Integer.highestOneBit(left));
  }

  /**
   * Sums of R rows for the outputs [lane, lane + 2 vectors) of a panel, each one chain of fused
   * multiply-adds in ascending order of inputs.
   *
   * @param sums receives row r's at r * WIDTH + lane
   * @param x rows packed input by input: element i of row r at {@code from + i * R + r}
   * @param w a decoded panel: output o for input i at {@code i * WIDTH + o}
   * @param inputs of the panel
   */
  void sum(float[] sums, int lane, float[] x, int from, float[] w, int inputs);

  /** Stores two vectors of sums. */
  static void put(float[] sums, int at, FloatVector a, FloatVector b) {
    a.intoArray(sums, at);
    b.intoArray(sums, at + Lanes.LENGTH);
  }
}
