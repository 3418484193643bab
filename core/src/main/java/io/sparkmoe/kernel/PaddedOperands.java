package io.sparkmoe.kernel;

import java.nio.ByteBuffer;
import org.bytedeco.javacpp.Pointer;

/**
 * A thread's room for BF16 matrices with rows of zeros added, and for the F32 product of one: what
 * few rows need so that a product compiled for more computes them.
 */
final class PaddedOperands {

  private final NativeFloats zeros = new NativeFloats();
  private final Scratch left = new Scratch();
  private final Scratch right = new Scratch();
  private final Scratch result = new Scratch();

  /** Address of the left operand with {@code padded} rows and no gaps between them. */
  long left(long matrix, int rows, int columns, int lead, int padded) {
    return pad(left, matrix, rows, columns, lead, padded);
  }

  /** As {@link #left}. */
  long right(long matrix, int rows, int columns, int lead, int padded) {
    return pad(right, matrix, rows, columns, lead, padded);
  }

  private long pad(Scratch scratch, long matrix, int rows, int columns, int lead, int padded) {
    ByteBuffer to = scratch.floats(Pieces.count(padded * columns, 2));
    int rowBytes = columns * Short.BYTES;
    ByteBuffer from = NativeFloats.bytesAt(matrix, ((rows - 1) * lead + columns) * Short.BYTES);
    if (lead == columns) {
      to.put(0, from, 0, rows * rowBytes);
    } else {
      for (int row = 0; row < rows; row++) {
        to.put(row * rowBytes, from, row * lead * Short.BYTES, rowBytes);
      }
    }
    long end = scratch.address() + (long) rows * rowBytes;
    Pointer.memset(zeros.moveTo(end), 0, (long) (padded - rows) * rowBytes);
    return scratch.address();
  }

  /** Address of room for an F32 product of {@code rows} rows. */
  long result(int rows, int columns) {
    result.floats(rows * columns);
    return result.address();
  }

  /** Writes, or adds, the first {@code rows} rows of the product to a matrix. */
  void storeResult(int rows, int columns, long matrix, int lead, boolean accumulate) {
    ByteBuffer from = result.floats(rows * columns);
    ByteBuffer to = NativeFloats.bytesAt(matrix, ((rows - 1) * lead + columns) * Float.BYTES);
    for (int row = 0; row < rows; row++) {
      if (accumulate) {
        VectorRows.addScaledRow(to, row * lead, from, row * columns, 1, columns);
      } else {
        Lanes.copy(to, row * lead, from, row * columns, columns);
      }
    }
  }
}
