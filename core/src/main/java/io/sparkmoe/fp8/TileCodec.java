package io.sparkmoe.fp8;

import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.PowerOfTwoScale;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;

/**
 * Rows of floats as FP8 codes in tiles of 128 columns with one scale each (1x128 tiles). A row's
 * last tile may be shorter: its scale comes from the columns that are there.
 *
 * <p>{@code scale = largest magnitude / largest value of the format}, or the next power of two
 * above it; {@code code = round(x / scale)}. There is no lower clamp of the magnitude: a tile of
 * tiny gradients is as precise as any other, and an all-zero tile gets scale 1. Magnitudes are
 * taken over finite values; an infinity becomes NaN, as NaN does, so that a diverged value is still
 * seen after the trip. Scratch is reused: one codec per thread.
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
   * Encodes one row with power-of-two scales.
   *
   * @param target receives the codes and one scale byte per tile ({@link PowerOfTwoScale})
   * @param codesAt offset of the first code, in bytes
   * @param scalesAt offset of the first scale, in bytes
   * @param row holds the values
   * @param rowAt index of the first value, in floats
   * @param columns values of the row
   */
  public void encode(
      ByteBuffer target, int codesAt, int scalesAt, FloatBuffer row, int rowAt, int columns) {
    for (int start = 0, tile = 0; start < columns; start += TILE, tile++) {
      int length = Math.min(TILE, columns - start);
      row.get(rowAt + start, values, 0, length);
      int largest = largestBits(length);
      boolean finite = largest < INFINITY;
      byte scale =
          PowerOfTwoScale.of(
              finite ? Float.intBitsToFloat(largest) : largestFinite(length), format);
      float reciprocal = PowerOfTwoScale.reciprocal(scale);
      if (finite) {
        format.encodeFinite(codes, values, reciprocal, length);
        target.put(codesAt + start, codes, 0, length);
      } else {
        for (int i = 0; i < length; i++) {
          values[i] *= reciprocal;
        }
        putCodes(target, codesAt + start, length);
      }
      target.put(scalesAt + tile, scale);
    }
  }

  /** Decodes one row: the reverse of {@link #encode}, offsets as there. */
  public void decode(
      FloatBuffer row, int rowAt, ByteBuffer source, int codesAt, int scalesAt, int columns) {
    for (int start = 0, tile = 0; start < columns; start += TILE, tile++) {
      int length = Math.min(TILE, columns - start);
      getScaled(
          source, codesAt + start, length, PowerOfTwoScale.value(source.get(scalesAt + tile)));
      row.put(rowAt + start, values, 0, length);
    }
  }

  /**
   * Encodes one row with FP32 scales, as DeepSeek-V3's weight files and kernels have them.
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

  /** Largest magnitude as the bits of a float; infinity and NaN are larger than all others. */
  private int largestBits(int length) {
    // Four running maxima, so that one does not wait for the last.
    int first = 0;
    int second = 0;
    int third = 0;
    int fourth = 0;
    int i = 0;
    for (; i + 3 < length; i += 4) {
      first = Math.max(first, Float.floatToRawIntBits(values[i]) & MAGNITUDE);
      second = Math.max(second, Float.floatToRawIntBits(values[i + 1]) & MAGNITUDE);
      third = Math.max(third, Float.floatToRawIntBits(values[i + 2]) & MAGNITUDE);
      fourth = Math.max(fourth, Float.floatToRawIntBits(values[i + 3]) & MAGNITUDE);
    }
    for (; i < length; i++) {
      first = Math.max(first, Float.floatToRawIntBits(values[i]) & MAGNITUDE);
    }
    return Math.max(Math.max(first, second), Math.max(third, fourth));
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
      // x - (x - x) is x, the sign of a zero too, or NaN when x is not finite.
      float value = values[i];
      codes[i] = format.encode(value - (value - value));
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
