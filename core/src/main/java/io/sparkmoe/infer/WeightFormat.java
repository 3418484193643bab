package io.sparkmoe.infer;

import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.model.TensorShape;
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

  /** Bytes of a model's weights held so, padding not counted. */
  public long bytes(ModelConfig model) {
    long bytes = 0;
    for (TensorShape shape : Parameters.shapes(model)) {
      bytes += shape.numElements() * typeOf(shape).sizeBytes();
    }
    return bytes;
  }

  private DType typeOf(TensorShape shape) {
    String name = shape.name();
    if (shape.shape().length == 1
        || shape.part() == Part.GATE
        || name.equals("model.embed_tokens.weight")) {
      return DType.F32;
    }
    return name.equals("lm_head.weight") ? head : matrices;
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
