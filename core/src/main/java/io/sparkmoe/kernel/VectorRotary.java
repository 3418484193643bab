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
    int n = shape.plain();
    forEachHeadRow(
        shape,
        (head, token, position, byHead) -> {
          int from = (token * shape.heads() + head) * shape.keySize();
          int to = byHead * shape.keySize();
          Lanes.copy(query.bytes(), to, q.bytes(), from, n);
          rotate(query.bytes(), to + n, q.bytes(), from + n, cos, sin, position, 1);
        });
  }

  void queryBackward(Tensor dq, Tensor dQuery, Tensor cos, Tensor sin) {
    AttentionShape shape = AttentionShape.ofQuery(dQuery, dq, cos, sin);
    int n = shape.plain();
    forEachHeadRow(
        shape,
        (head, token, position, byHead) -> {
          int to = (token * shape.heads() + head) * shape.keySize();
          int from = byHead * shape.keySize();
          Lanes.copy(dq.bytes(), to, dQuery.bytes(), from, n);
          rotate(dq.bytes(), to + n, dQuery.bytes(), from + n, cos, sin, position, -1);
        });
  }

  void keyValue(Tensor key, Tensor value, Tensor kv, Tensor keyRope, Tensor cos, Tensor sin) {
    AttentionShape shape = AttentionShape.ofKeyValue(key, value, kv, keyRope, cos, sin);
    int n = shape.plain();
    int v = shape.valueSize();
    forEachHeadRow(
        shape,
        (head, token, position, byHead) -> {
          int from = (token * shape.heads() + head) * (n + v);
          int to = byHead * shape.keySize();
          Lanes.copy(key.bytes(), to, kv.bytes(), from, n);
          Lanes.copy(value.bytes(), byHead * v, kv.bytes(), from + n, v);
          rotate(
              key.bytes(), to + n, keyRope.bytes(), token * shape.rotary(), cos, sin, position, 1);
        });
  }

  void keyValueBackward(
      Tensor dkv, Tensor dKeyRope, Tensor dKey, Tensor dValue, Tensor cos, Tensor sin) {
    AttentionShape shape = AttentionShape.ofKeyValue(dKey, dValue, dkv, dKeyRope, cos, sin);
    int n = shape.plain();
    int r = shape.rotary();
    int v = shape.valueSize();
    forEachHeadRow(
        shape,
        (head, token, position, byHead) -> {
          int to = (token * shape.heads() + head) * (n + v);
          int from = byHead * shape.keySize();
          Lanes.copy(dkv.bytes(), to, dKey.bytes(), from, n);
          Lanes.copy(dkv.bytes(), to + n, dValue.bytes(), byHead * v, v);
          // forward: every head got the same rotated key; so its gradient is the sum over heads,
          // rotated back at the last
          ByteBuffer rope = dKeyRope.bytes();
          if (head == 0) {
            Lanes.copy(rope, token * r, dKey.bytes(), from + n, r);
          } else {
            for (int i = 0; i < r; i++) {
              Lanes.set(
                  rope,
                  token * r + i,
                  Lanes.get(rope, token * r + i) + Lanes.get(dKey.bytes(), from + n + i));
            }
          }
          if (head == shape.heads() - 1) {
            rotate(rope, token * r, rope, token * r, cos, sin, position, -1);
          }
        });
  }

  /** Visits the heads of a token in ascending order on one thread. */
  private void forEachHeadRow(AttentionShape shape, AttentionShape.HeadRow visitor) {
    int tokens = shape.batch() * shape.length();
    int grain = Pieces.rowGrain(shape.heads() * (shape.keySize() + shape.valueSize()));
    Pieces.forEach(
        parallel,
        tokens,
        grain,
        (first, end) -> {
          for (int token = first; token < end; token++) {
            int sequence = token / shape.length();
            int position = token % shape.length();
            for (int head = 0; head < shape.heads(); head++) {
              visitor.visit(
                  head,
                  token,
                  position,
                  (sequence * shape.heads() + head) * shape.length() + position);
            }
          }
        });
  }

  /**
   * (a, b) -> (a cos - b sin, a sin + b cos) over interleaved pairs; {@code sign} -1 turns back.
   * May be in place.
   */
  static void rotate(
      ByteBuffer y,
      int yStart,
      ByteBuffer x,
      int xStart,
      Tensor cos,
      Tensor sin,
      int position,
      int sign) {
    int pairs = cos.cols();
    for (int i = 0; i < pairs; i++) {
      float a = Lanes.get(x, xStart + 2 * i);
      float b = Lanes.get(x, xStart + 2 * i + 1);
      float c = cos.getFloat(position * pairs + i);
      float s = sign * sin.getFloat(position * pairs + i);
      Lanes.set(y, yStart + 2 * i, a * c - b * s);
      Lanes.set(y, yStart + 2 * i + 1, a * s + b * c);
    }
  }
}
