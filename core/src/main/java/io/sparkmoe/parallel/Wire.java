package io.sparkmoe.parallel;

/**
 * Number format of a payload between ranks. FP8 is E4M3 with one power-of-two scale byte per 128
 * values.
 */
public enum Wire {
  FP32,
  BF16,
  FP8
}
