package io.sparkmoe.parallel;

import io.sparkmoe.fp8.TileCodec;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;

/**
 * Rows of a tensor as the bytes of a {@link Wire}, all rows of the same length:
 *
 * <ul>
 *   <li>FP32: the elements as they are, little-endian. Nothing is rounded or copied; F64 rows,
 *       which gradient checks use, go as F64.
 *   <li>BF16: two bytes an element, rounded to nearest even.
 *   <li>FP8: D codes of E4M3, then one power-of-two scale byte per tile of 128 columns ({@link
 *       TileCodec}).
 * </ul>
 *
 * <p>Legend: N rows, D columns. Encoding what was decoded gives the same bytes. One codec per
 * thread.
 */
public final class RowCodec {

  private final Wire wire;
  private final DType element;
  private final int columns;
  private final Kernels kernels;
  private final TileCodec tiles = new TileCodec(Fp8Format.E4M3);

  /**
   * @param wire format of the bytes
   * @param element type of the rows; F64 only with {@link Wire#FP32}
   * @param columns D
   */
  public RowCodec(Wire wire, DType element, int columns, Kernels kernels) {
    if (element != DType.F32 && !(element == DType.F64 && wire == Wire.FP32)) {
      throw new IllegalArgumentException(
          "a " + wire + " wire carries F32 rows, got " + element + "; use an FP32 wire");
    }
    if (ByteOrder.nativeOrder() != ByteOrder.LITTLE_ENDIAN) {
      throw new IllegalStateException("the wire is little-endian and so must the machine be");
    }
    this.wire = wire;
    this.element = element;
    this.columns = columns;
    this.kernels = kernels;
  }

  /** Whether decoded rows equal what was encoded. */
  public boolean isLossless() {
    return wire == Wire.FP32;
  }

  /** Bytes of one encoded row. */
  public int rowBytes() {
    return switch (wire) {
      case FP32 -> columns * element.sizeBytes();
      case BF16 -> columns * DType.BF16.sizeBytes();
      case FP8 -> columns + TileCodec.tiles(columns);
    };
  }

  /**
   * The encoded rows: a tensor whose memory holds N times {@link #rowBytes}. Without loss that is
   * {@code rows} itself.
   *
   * @param rows (N, D)
   * @param allocator owns the result where it is a new tensor
   */
  public Tensor encode(Tensor rows, Allocator allocator) {
    int numRows = numRows(rows);
    return switch (wire) {
      case FP32 -> rows;
      case BF16 -> {
        Tensor encoded = allocator.allocate(DType.BF16, numRows, columns);
        if (numRows > 0) {
          kernels.toBfloat16(encoded, rows);
        }
        yield encoded;
      }
      case FP8 -> {
        int rowBytes = rowBytes();
        Tensor encoded = allocator.allocate(DType.U8, numRows, rowBytes);
        FloatBuffer values = rows.bytes().asFloatBuffer();
        for (int row = 0; row < numRows; row++) {
          tiles.encode(
              encoded.bytes(),
              row * rowBytes,
              row * rowBytes + columns,
              values,
              row * columns,
              columns);
        }
        yield encoded;
      }
    };
  }

  /**
   * Chosen rows of what {@link #encode} gave, ready to send.
   *
   * @param index I32 (N), rows of {@code encoded}
   * @return a tensor whose memory holds the N encoded rows
   */
  public Tensor gatherEncoded(Tensor encoded, Tensor index, Allocator allocator) {
    int rowBytes = rowBytes();
    Tensor chosen = allocator.allocate(DType.U8, index.size(), rowBytes);
    for (int row = 0; row < index.size(); row++) {
      chosen.bytes().put(row * rowBytes, encoded.bytes(), index.getInt(row) * rowBytes, rowBytes);
    }
    return chosen;
  }

  /**
   * Decodes as many rows as {@code rows} has.
   *
   * @param rows (N, D), written
   * @param source holds the encoded rows
   * @param at offset of the first, in bytes
   * @param scratch for what is needed only meanwhile
   */
  public void decode(Tensor rows, ByteBuffer source, int at, Scope scratch) {
    int numRows = numRows(rows);
    if (numRows == 0) {
      return;
    }
    int rowBytes = rowBytes();
    switch (wire) {
      case FP32 -> rows.bytes().put(0, source, at, numRows * rowBytes);
      case BF16 -> {
        try (Scope inner = scratch.inner()) {
          Tensor encoded = inner.allocate(DType.BF16, numRows, columns);
          encoded.bytes().put(0, source, at, numRows * rowBytes);
          kernels.fromBfloat16(rows, encoded);
        }
      }
      case FP8 -> {
        FloatBuffer values = rows.bytes().asFloatBuffer();
        for (int row = 0; row < numRows; row++) {
          int start = at + row * rowBytes;
          tiles.decode(values, row * columns, source, start, start + columns, columns);
        }
      }
    }
  }

  private int numRows(Tensor rows) {
    if (rows.type() != element || columns == 0 || rows.size() % columns != 0) {
      throw new IllegalArgumentException(
          "rows on this wire must be " + element + " of " + columns + " columns, got " + rows);
    }
    return rows.size() / columns;
  }
}
