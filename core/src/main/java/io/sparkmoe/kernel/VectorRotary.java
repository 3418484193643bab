package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;

/**
 * Fast assembly of queries, keys and values by head. H heads, S tokens of a sequence, N channels of
 * a head without position, R with rotary position, V value channels. Tokens are the pieces.
 */
final class VectorRotary {

  private final Parallel parallel;

  VectorRotary(Parallel parallel) {
    this.parallel = parallel;
  }

  void query(Tensor query, Tensor q, Tensor cos, Tensor sin) {
    AttentionShape shape = AttentionShape.ofQuery(query, q, cos, sin);
    query(shape, query.bytes(), q.bytes(), true, new RotaryTurns(cos, sin, 1));
  }

  void queryBackward(Tensor dq, Tensor dQuery, Tensor cos, Tensor sin) {
    AttentionShape shape = AttentionShape.ofQuery(dQuery, dq, cos, sin);
    query(shape, dQuery.bytes(), dq.bytes(), false, new RotaryTurns(cos, sin, -1));
  }

  /**
   * Moves every head's channels from one layout to the other.
   *
   * @param toHeads whether from {@code byToken} to {@code byHead}
   */
  private void query(
      AttentionShape shape,
      ByteBuffer byHead,
      ByteBuffer byToken,
      boolean toHeads,
      RotaryTurns turns) {
    int n = shape.plain();
    int width = shape.keySize();
    ByteBuffer written = toHeads ? byHead : byToken;
    ByteBuffer read = toHeads ? byToken : byHead;
    forEachToken(
        shape,
        (token, position, headRow) -> {
          for (int h = 0; h < shape.heads(); h++) {
            int atToken = (token * shape.heads() + h) * width;
            int atHead = (headRow + h * shape.length()) * width;
            int to = toHeads ? atHead : atToken;
            int from = toHeads ? atToken : atHead;
            Lanes.copy(written, to, read, from, n);
            turns.rotate(written, to + n, read, from + n, position);
          }
        });
  }

  void keyValue(Tensor key, Tensor value, Tensor kv, Tensor keyRope, Tensor cos, Tensor sin) {
    AttentionShape shape = AttentionShape.ofKeyValue(key, value, kv, keyRope, cos, sin);
    RotaryTurns turns = new RotaryTurns(cos, sin, 1);
    ByteBuffer keys = key.bytes();
    ByteBuffer values = value.bytes();
    ByteBuffer byToken = kv.bytes();
    ByteBuffer rope = keyRope.bytes();
    int n = shape.plain();
    int r = shape.rotary();
    int v = shape.valueSize();
    forEachToken(
        shape,
        (token, position, headRow) -> {
          int from = token * shape.heads() * (n + v);
          int rotated = headRow * (n + r) + n;
          turns.rotate(keys, rotated, rope, token * r, position);
          for (int h = 0; h < shape.heads(); h++, from += n + v) {
            int row = headRow + h * shape.length();
            Lanes.copy(keys, row * (n + r), byToken, from, n);
            Lanes.copy(values, row * v, byToken, from + n, v);
            if (h > 0) {
              Lanes.copy(keys, row * (n + r) + n, keys, rotated, r);
            }
          }
        });
  }

  void keyValueBackward(
      Tensor dkv, Tensor dKeyRope, Tensor dKey, Tensor dValue, Tensor cos, Tensor sin) {
    AttentionShape shape = AttentionShape.ofKeyValue(dKey, dValue, dkv, dKeyRope, cos, sin);
    RotaryTurns turns = new RotaryTurns(cos, sin, -1);
    ByteBuffer keys = dKey.bytes();
    ByteBuffer values = dValue.bytes();
    ByteBuffer byToken = dkv.bytes();
    ByteBuffer rope = dKeyRope.bytes();
    int n = shape.plain();
    int r = shape.rotary();
    int v = shape.valueSize();
    forEachToken(
        shape,
        (token, position, headRow) -> {
          int to = token * shape.heads() * (n + v);
          for (int h = 0; h < shape.heads(); h++, to += n + v) {
            int row = headRow + h * shape.length();
            Lanes.copy(byToken, to, keys, row * (n + r), n);
            Lanes.copy(byToken, to + n, values, row * v, v);
            // forward: every head got the same rotated key; so its gradient is the sum over heads,
            // rotated back at the last
            if (h == 0) {
              Lanes.copy(rope, token * r, keys, row * (n + r) + n, r);
            } else {
              VectorRows.addScaledRow(rope, token * r, keys, row * (n + r) + n, 1, r);
            }
          }
          turns.rotate(rope, token * r, rope, token * r, position);
        });
  }

  /** Visits a token. */
  @FunctionalInterface
  private interface TokenVisitor {

    /**
     * @param position within its sequence
     * @param headRow row of its first head in tensors by head (B, H, S, *); the others lie S rows
     *     apart
     */
    void visit(int token, int position, int headRow);
  }

  private void forEachToken(AttentionShape shape, TokenVisitor visitor) {
    int length = shape.length();
    Pieces.forEach(
        parallel,
        shape.batch() * length,
        Pieces.rowGrain(shape.heads() * (shape.keySize() + shape.valueSize())),
        (first, end) -> {
          for (int token = first; token < end; token++) {
            int sequence = token / length;
            int position = token % length;
            visitor.visit(token, position, sequence * shape.heads() * length + position);
          }
        });
  }
}
