package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;

/**
 * Sizes of one attention call, checked once against its tensors.
 *
 * @param batch sequences B
 * @param heads heads H
 * @param length tokens S of a sequence
 * @param plain query and key channels N of a head without position
 * @param rotary query and key channels R of a head with rotary position; {@link #of} counts all as
 *     plain
 * @param valueSize value channels V of a head
 */
record AttentionShape(int batch, int heads, int length, int plain, int rotary, int valueSize) {

  /** Visits one query of one head. */
  @FunctionalInterface
  interface HeadRow {
    /**
     * @param token row b*S + s of tensors by token
     * @param position s
     * @param byHead row (b*H + h)*S + s of tensors by head
     */
    void visit(int head, int token, int position, int byHead);
  }

  static AttentionShape ofQuery(Tensor query, Tensor q, Tensor cos, Tensor sin) {
    int rotary = 2 * cos.cols();
    AttentionShape shape =
        new AttentionShape(
            query.dim(0), query.dim(1), query.dim(2), query.dim(3) - rotary, rotary, 0);
    KernelArguments.equal(
        () -> "elements of " + q + " beside query " + query, query.size(), q.size());
    shape.checkAngles(cos, sin);
    return shape;
  }

  static AttentionShape ofKeyValue(
      Tensor key, Tensor value, Tensor kv, Tensor keyRope, Tensor cos, Tensor sin) {
    int rotary = 2 * cos.cols();
    AttentionShape shape =
        new AttentionShape(
            key.dim(0), key.dim(1), key.dim(2), key.dim(3) - rotary, rotary, value.dim(3));
    int byHead = shape.batch * shape.heads * shape.length;
    KernelArguments.equal(
        () -> "elements of value " + value, (long) byHead * shape.valueSize, value.size());
    KernelArguments.equal(
        () -> "elements of " + kv, (long) byHead * (shape.plain + shape.valueSize), kv.size());
    KernelArguments.equal(
        () -> "elements of rotary key " + keyRope,
        (long) shape.batch * shape.length * rotary,
        keyRope.size());
    shape.checkAngles(cos, sin);
    return shape;
  }

  static AttentionShape of(Tensor out, Tensor logSumExp, Tensor query, Tensor key, Tensor value) {
    AttentionShape shape =
        new AttentionShape(query.dim(0), query.dim(1), query.dim(2), query.dim(3), 0, value.dim(3));
    int byHead = shape.batch * shape.heads * shape.length;
    KernelArguments.sameSize(query, key);
    KernelArguments.equal(
        () -> "elements of value " + value, (long) byHead * shape.valueSize, value.size());
    KernelArguments.equal(() -> "elements of output " + out, value.size(), out.size());
    KernelArguments.equal(() -> "elements of log-sum-exp " + logSumExp, byHead, logSumExp.size());
    return shape;
  }

  private void checkAngles(Tensor cos, Tensor sin) {
    KernelArguments.sameSize(cos, sin);
    if (plain < 0 || cos.rows() < length) {
      throw new IllegalArgumentException(
          "rotary angles "
              + cos
              + " must have a row for each of "
              + length
              + " positions and at most half of "
              + (plain + rotary)
              + " channels");
    }
  }

  /** Query and key channels of a head. */
  int keySize() {
    return plain + rotary;
  }

  /** Visits every query in ascending order of sequence, head and position. */
  void forEachHeadRow(HeadRow visitor) {
    for (int b = 0; b < batch; b++) {
      for (int h = 0; h < heads; h++) {
        for (int s = 0; s < length; s++) {
          visitor.visit(h, b * length + s, s, (b * heads + h) * length + s);
        }
      }
    }
  }
}
