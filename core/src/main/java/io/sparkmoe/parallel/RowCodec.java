package io.sparkmoe.parallel;

import io.sparkmoe.kernel.Fp8Granularity;
import io.sparkmoe.kernel.Fp8Scaling;
import io.sparkmoe.kernel.Fp8Tensor;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Rows of a tensor as the bytes of a {@link Wire}, all rows of the same length:
 *
 * <ul>
 *   <li>FP32: the elements as they are, little-endian. Nothing is rounded or copied; F64 rows,
 *       which gradient checks use, go as F64.
 *   <li>BF16: two bytes an element, rounded to nearest even.
 *   <li>FP8: D codes of E4M3, then one power-of-two scale byte per tile of 128 columns ({@link
 *       Fp8Tensor}).
 * </ul>
 *
 * <p>Legend: N rows, D columns. Encoding what was decoded gives the same bytes. One codec per
 * thread.
 */
public final class RowCodec {

  private static final Fp8Scaling TILES = new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.TILE_1X128);

  private final Wire wire;
  private final DType element;
  private final int columns;
  private final Kernels kernels;

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
      case FP8 -> columns + Fp8Tensor.scalesPerRow(columns);
    };
  }

  /**
   * The encoded rows: a tensor whose memory holds N times {@link #rowBytes}. Without loss that is
   * {@code rows} itself.
   *
   * @param rows (N, D)
   * @param scope owns the result where it is a new tensor
   */
  public Tensor encode(Tensor rows, Scope scope) {
    int numRows = numRows(rows);
    return switch (wire) {
      case FP32 -> rows;
      case BF16 -> {
        Tensor encoded = scope.allocate(DType.BF16, numRows, columns);
        if (numRows > 0) {
          kernels.toBfloat16(encoded, rows);
        }
        yield encoded;
      }
      case FP8 -> {
        Tensor encoded = scope.allocate(DType.U8, numRows, rowBytes());
        encodeFp8(encoded, rows.reshape(numRows, columns), scope);
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
  public Tensor gatherEncoded(Tensor encoded, Tensor index, Scope scope) {
    int rowBytes = rowBytes();
    Tensor chosen = scope.allocate(DType.U8, index.size(), rowBytes);
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
        try (Scope inner = scratch.inner()) {
          Fp8Tensor encoded = Fp8Tensor.allocate(inner, Fp8Format.E4M3, numRows, columns);
          int scales = rowBytes - columns;
          for (int row = 0; row < numRows; row++) {
            int from = at + row * rowBytes;
            encoded.codes().bytes().put(row * columns, source, from, columns);
            encoded.scales().bytes().put(row * scales, source, from + columns, scales);
          }
          kernels.dequantize(rows, encoded);
        }
      }
    }
  }

  /** Codes and scales of each row one after the other; a single row is encoded in place. */
  private void encodeFp8(Tensor encoded, Tensor rows, Scope scope) {
    int numRows = rows.rows();
    if (numRows == 0) {
      return;
    }
    int rowBytes = rowBytes();
    int scales = rowBytes - columns;
    if (numRows == 1) {
      Tensor codes = encoded.viewAs(Fp8Format.E4M3.type(), 0, 1, columns);
      Fp8Tensor row = new Fp8Tensor(codes, encoded.viewAs(DType.U8, columns, 1, scales));
      kernels.quantize(null, row, rows, null, TILES, null);
      return;
    }
    try (Scope inner = scope.inner()) {
      Fp8Tensor kept = Fp8Tensor.allocate(inner, Fp8Format.E4M3, numRows, columns);
      kernels.quantize(null, kept, rows, null, TILES, null);
      for (int row = 0; row < numRows; row++) {
        int to = row * rowBytes;
        encoded.bytes().put(to, kept.codes().bytes(), row * columns, columns);
        encoded.bytes().put(to + columns, kept.scales().bytes(), row * scales, scales);
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
