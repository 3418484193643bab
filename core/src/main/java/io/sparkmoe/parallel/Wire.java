package io.sparkmoe.parallel;

import io.sparkmoe.fp8.TileCodec;

/**
 * Number format of a payload between ranks. FP8 is E4M3 with one power-of-two scale byte per 128
 * values.
 */
public enum Wire {
  FP32,
  BF16,
  FP8;

  /** Bytes of that many values in whole tiles. */
  public long bytes(long values) {
    return switch (this) {
      case FP32 -> Float.BYTES * values;
      case BF16 -> Short.BYTES * values;
      case FP8 -> values + (values + TileCodec.TILE - 1) / TileCodec.TILE;
    };
  }
}
