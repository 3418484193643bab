package io.sparkmoe.fp8;

import io.sparkmoe.tensor.Fp8Format;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;

/**
 * Rows of floats as FP8 codes in tiles of 128 columns with one FP32 scale each, as DeepSeek-V3's
 * kernels and weight files have them; training and the wire have power-of-two scales ({@link
 * io.sparkmoe.kernel.Fp8Tensor}). A row's last tile may be shorter: its scale comes from the
 * columns that are there.
 *
 * <p>{@code scale = largest magnitude / largest value of the format}; {@code code = round(x /
 * scale)}. There is no lower clamp of the magnitude: a tile of tiny gradients is as precise as any
 * other, and an all-zero tile gets scale 1. Magnitudes are taken over finite values; an infinity
 * becomes NaN, as NaN does, so that a diverged value is still seen after the trip. Scratch is
 * reused: one codec per thread.
 */
public final class TileCodec {

  /** Columns of a tile. */
  public static final int TILE = 128;

  private static final int MAGNITUDE = 0x7FFFFFFF;
  private static final int INFINITY = 0x7F800000;

  private final Fp8Format format;
  private final float[] values = new float[TILE];
  private final byte[] codes = new byte[TILE];

  public TileCodec(Fp8Format format) {
    this.format = format;
  }

  /** Tiles of a row. */
  public static int tiles(int columns) {
    return (columns + TILE - 1) / TILE;
  }

  /**
   * Encodes one row.
   *
   * @param codesOut receives the codes from {@code codesAt} on, in bytes
   * @param scalesOut receives the scales from {@code scalesAt} on, in floats
   */
  public void encodeFp32Scales(
      ByteBuffer codesOut,
      int codesAt,
      FloatBuffer scalesOut,
      int scalesAt,
      FloatBuffer row,
      int rowAt,
      int columns) {
    for (int start = 0, tile = 0; start < columns; start += TILE, tile++) {
      int length = Math.min(TILE, columns - start);
      row.get(rowAt + start, values, 0, length);
      float largest = largestFinite(length);
      float scale = largest == 0 ? 1 : largest / format.largest();
      for (int i = 0; i < length; i++) {
        values[i] /= scale;
      }
      putCodes(codesOut, codesAt + start, length);
      scalesOut.put(scalesAt + tile, scale);
    }
  }

  /** Decodes one row: the reverse of {@link #encodeFp32Scales}. */
  public void decodeFp32Scales(
      FloatBuffer row,
      int rowAt,
      ByteBuffer codesIn,
      int codesAt,
      FloatBuffer scalesIn,
      int scalesAt,
      int columns) {
    for (int start = 0, tile = 0; start < columns; start += TILE, tile++) {
      int length = Math.min(TILE, columns - start);
      getScaled(codesIn, codesAt + start, length, scalesIn.get(scalesAt + tile));
      row.put(rowAt + start, values, 0, length);
    }
  }

  private float largestFinite(int length) {
    int largest = 0;
    for (int i = 0; i < length; i++) {
      int magnitude = Float.floatToRawIntBits(values[i]) & MAGNITUDE;
      largest = Math.max(largest, magnitude < INFINITY ? magnitude : 0);
    }
    return Float.intBitsToFloat(largest);
  }

  private void putCodes(ByteBuffer target, int at, int length) {
    for (int i = 0; i < length; i++) {
      codes[i] = format.encodeOrNan(values[i]);
    }
    target.put(at, codes, 0, length);
  }

  private void getScaled(ByteBuffer source, int at, int length, float scale) {
    source.get(at, codes, 0, length);
    for (int i = 0; i < length; i++) {
      values[i] = format.decode(codes[i]) * scale;
    }
  }
}
