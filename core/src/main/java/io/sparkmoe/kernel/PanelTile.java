package io.sparkmoe.kernel;

import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;

/**
 * The inner loop of a product with panels of {@link PanelMatrix}, for one number of rows R and one
 * type of weights. Every implementation is compiled by itself ({@link SeparatePanelTile}): together
 * they exceed what the compiler is willing to inline, and vectors that cross a call become objects.
 *
 * <p>Tiles are written out, because sums in an array of vectors would live in memory instead of
 * registers. All their sums start from {@link FloatVector#zero}, which is always inlined: behind a
 * helper of our own, which loops with many rounds and few calls leave out of line, the compiler
 * does not know what class the sums are of.
 */
@FunctionalInterface
interface PanelTile {

  /** Rows of the largest tile: sixteen sums, two weights and an input fit the 32 registers. */
  int MOST_ROWS = 8;

  /**
   * Rows of the largest tile of several panels. So few rows wait for F32 weights, of which a core
   * reads more when it follows several streams; narrower ones leave it enough to decode.
   */
  int ROWS_SIDE_BY_SIDE = 2;

  /** Panels of a tile of several. */
  int PANELS_SIDE_BY_SIDE = 4;

  /** Rows of the next tile: 8, 4, 2 or 1. */
  static int rows(int left) {
    return Math.min(MOST_ROWS, Integer.highestOneBit(left));
  }

  /**
   * Sums of R rows for the outputs [lane, lane + 2 vectors) of each panel, each one chain of fused
   * multiply-adds in ascending order of inputs. Every weight is loaded once for all rows.
   *
   * @param sums receives row r's of panel p at (p * R + r) * WIDTH + lane
   * @param x rows packed input by input: element i of row r at {@code from + i * R + r}
   * @param w weights in groups of 32 bits
   * @param at group of {@code w} that belongs to output {@code lane} of the first panel and the
   *     first inputs
   * @param stride groups of a panel
   * @param inputs of whole groups
   */
  void sum(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs);

  /** Stores two vectors of sums. */
  static void put(float[] sums, int at, FloatVector a, FloatVector b) {
    a.intoArray(sums, at);
    b.intoArray(sums, at + Lanes.LENGTH);
  }
}
