package io.sparkmoe.infer;

import io.sparkmoe.tensor.DType;

/**
 * How the weight matrices of an inference model are held. A product with one row reads every weight
 * once, so its speed is bounded by the bytes of a weight; narrower ones are decoded on the way into
 * the product, and sums stay FP32. Norms, the embedding (of which a token reads one row) and the
 * gates, whose choice a rounding could flip, stay FP32.
 */
public enum WeightFormat {
  FP32(DType.F32, DType.F32),
  /** Rounded to nearest even. */
  BF16(DType.BF16, DType.BF16),
  /**
   * E4M3 with a power-of-two scale for every block of 128 x 128; the head in BF16, as in
   * DeepSeek-V3's files.
   */
  FP8(DType.F8_E4M3, DType.BF16);

  private final DType matrices;
  private final DType head;

  WeightFormat(DType matrices, DType head) {
    this.matrices = matrices;
    this.head = head;
  }

  /** Of the matrices of attention, feed-forward networks, experts and MTP joins. */
  DType matrices() {
    return matrices;
  }

  /** Of the head. */
  DType head() {
    return head;
  }
}
