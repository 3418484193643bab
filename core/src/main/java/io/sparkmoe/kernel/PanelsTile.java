package io.sparkmoe.kernel;

import java.nio.ByteBuffer;

/**
 * The inner loop of a product of one or two rows R with panels of {@link PanelMatrix} as they lie
 * in memory. So few rows wait for the weights, of which a core reads more when it follows several
 * streams: panels side by side. Implementations are called through this interface as those of
 * {@link PanelTile}.
 */
@FunctionalInterface
interface PanelsTile {

  /** Rows of the largest tile. */
  int MOST_ROWS = 2;

  /** Panels of a tile of F32 weights. */
  int WIDE = 4;

  /**
   * Panels of a tile of BF16 weights: with decoding, more exceed what the compiler inlines, and two
   * of FP8 do.
   */
  int BF16 = 2;

  /**
   * Sums for the outputs [lane, lane + 2 vectors) of each panel, by the chains of {@link
   * PanelTile#sum}.
   *
   * @param sums receives row r's of panel p at (p * R + r) * WIDTH + lane
   * @param x rows packed as for {@link PanelTile#sum}
   * @param w weights in groups of 32 bits
   * @param at group of {@code w} that belongs to output {@code lane} of the first panel and the
   *     first inputs
   * @param stride groups of a panel
   * @param inputs of whole groups
   */
  void sum(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int stride, int inputs);
}
