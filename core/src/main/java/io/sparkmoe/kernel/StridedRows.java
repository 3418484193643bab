package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * Rows of a tensor of F32.
 *
 * @param start element where row 0 starts
 * @param stride elements between rows
 * @param index I32, number of each row; null = its own
 */
record StridedRows(ByteBuffer memory, int start, int stride, Tensor index) {

  /** Element where a row starts. */
  int at(int row) {
    return start + (index == null ? row : index.getInt(row)) * stride;
  }

  /**
   * Copies rows tile by tile, within a tile input by input, so that a product reads its inputs one
   * after the other: element (row + r, i) of a tile of R rows at {@code row * depth + i * R + r},
   * with {@code depth} the inputs of w and the zeros that fill its last group.
   */
  void pack(float[] to, PanelMatrix w, int first, int end) {
    int depth = w.depth();
    for (int row = first; row < end; ) {
      int rows = PanelTile.rows(end - row);
      for (int r = 0; r < rows; r++) {
        pack(to, row * depth + r, rows, at(row + r), w.inputs());
      }
      for (int i = row * depth + rows * w.inputs(); i < (row + rows) * depth; i++) {
        to[i] = 0;
      }
      row += rows;
    }
  }

  private void pack(float[] to, int at, int step, int from, int count) {
    int bound = step == 1 ? Lanes.FLOATS.loopBound(count) : 0;
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      Lanes.load(memory, from + i).intoArray(to, at + i);
    }
    for (int i = bound; i < count; i++) {
      to[at + i * step] = Lanes.get(memory, from + i);
    }
  }
}
