package io.sparkmoe.kernel;

import java.nio.ByteBuffer;

/**
 * Makes floats of a panel's weights, for products of more rows than {@link PanelsTile#MOST_ROWS}:
 * decoding, and the checks that a load of a byte buffer costs, are then paid once for all rows.
 */
@FunctionalInterface
interface PanelDecoder {

  /**
   * Writes the weights of {@code inputs} inputs, {@link PanelMatrix#WIDTH} outputs each.
   *
   * @param at element of {@code to} that receives output 0 of the first input
   * @param w weights in groups of 32 bits
   * @param from group of {@code w} that belongs to output 0 and the first inputs
   * @param inputs of whole groups, under one scale
   * @param scale that FP8 weights are multiplied by
   */
  void decode(float[] to, int at, ByteBuffer w, int from, int inputs, float scale);
}
