package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;

/**
 * Sizes of one router call, checked once against its tensors.
 *
 * @param tokens T
 * @param experts E
 * @param topK experts K of a token
 */
record RouterShape(int tokens, int experts, int topK) {

  /**
   * Keeps a sum of scores that all underflow from dividing by zero, as Hugging Face and Megatron
   * do.
   */
  static final double TINY = 1e-20;

  static RouterShape of(Tensor ids, Tensor scores, Tensor bias, int numGroups, int topGroups) {
    RouterShape shape = ofChoice(scores, ids);
    int e = shape.experts;
    if (bias != null) {
      KernelArguments.equal(() -> "biases of " + e + " experts", e, bias.size());
    }
    if (numGroups < 1 || e % numGroups != 0) {
      throw new IllegalArgumentException(
          "expert groups must divide numExperts=" + e + ", got " + numGroups);
    }
    if (topGroups < 1 || topGroups > numGroups) {
      throw new IllegalArgumentException(
          "top groups must be in [1, numGroups=" + numGroups + "], got " + topGroups);
    }
    int groupSize = e / numGroups;
    if (bias != null && topGroups < numGroups && groupSize < 2) {
      throw new IllegalArgumentException(
          "a group must have at least 2 experts for its top-2 score, got "
              + groupSize
              + "; use fewer groups");
    }
    if (shape.topK > topGroups * groupSize) {
      throw new IllegalArgumentException(
          "top-k must be at most the "
              + topGroups * groupSize
              + " experts of "
              + topGroups
              + " groups, got "
              + shape.topK);
    }
    return shape;
  }

  static RouterShape ofWeights(Tensor weights, Tensor scores, Tensor ids) {
    KernelArguments.sameSize(weights, ids);
    return ofChoice(scores, ids);
  }

  private static RouterShape ofChoice(Tensor scores, Tensor ids) {
    KernelArguments.typed(ids, DType.I32);
    RouterShape shape = new RouterShape(scores.rows(), scores.cols(), ids.cols());
    KernelArguments.equal(
        () -> "rows of expert ids " + ids + " beside scores " + scores, shape.tokens, ids.rows());
    return shape;
  }

  /** Tokens S of a sequence in a balance loss. */
  static int sequenceLength(Tensor frequency, Tensor scores, Tensor valid) {
    KernelArguments.typed(valid, DType.I32);
    KernelArguments.equal(
        () -> "elements of " + frequency + " for " + valid.size() + " sequences of " + scores,
        (long) valid.size() * scores.cols(),
        frequency.size());
    int length = valid.size() == 0 ? 0 : scores.rows() / valid.size();
    KernelArguments.equal(
        () -> "rows of scores " + scores + " for " + valid.size() + " sequences",
        (long) length * valid.size(),
        scores.rows());
    for (int b = 0; b < valid.size(); b++) {
      if (valid.getInt(b) < 0 || valid.getInt(b) > length) {
        throw new IllegalArgumentException(
            "valid tokens of sequence "
                + b
                + " must be in [0, "
                + length
                + "], got "
                + valid.getInt(b));
      }
    }
    return length;
  }

  static void requireTopK(int topK, Tensor scores) {
    if (topK < 1 || topK > scores.cols()) {
      throw new IllegalArgumentException(
          "top-k must be in [1, numExperts=" + scores.cols() + "], got " + topK);
    }
  }
}
