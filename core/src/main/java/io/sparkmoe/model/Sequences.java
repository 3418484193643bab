package io.sparkmoe.model;

import io.sparkmoe.tensor.Tensor;

/**
 * How the T rows of a pass are cut into sequences: T = B*S, row b*S + i is position i of sequence
 * b. R rotary channels.
 *
 * @param count sequences B
 * @param length positions S
 * @param cos (S, R/2), row = position
 * @param sin (S, R/2)
 * @param valid I32 (B), positions before the padding of each sequence
 */
record Sequences(int count, int length, Tensor cos, Tensor sin, Tensor valid) {

  int numTokens() {
    return count * length;
  }
}
