package io.sparkmoe.kernel;

import static io.sparkmoe.kernel.ReferenceKernels.store;
import static io.sparkmoe.kernel.ReferenceKernels.values;

import io.sparkmoe.tensor.Tensor;

/**
 * Reference of rotary assembly and causal attention. B sequences, H heads, S tokens of a sequence,
 * N channels of a head without position, R with rotary position, V value channels; token row t =
 * b*S + s.
 */
final class ReferenceAttention {

  private ReferenceAttention() {}

  static void assembleQuery(Tensor query, Tensor q, Tensor cos, Tensor sin) {
    AttentionShape shape = AttentionShape.ofQuery(query, q, cos, sin);
    shape.forEachHeadRow(
        (head, token, position, byHead) -> {
          int from = token * shape.heads() * shape.keySize() + head * shape.keySize();
          int to = byHead * shape.keySize();
          for (int i = 0; i < shape.plain(); i++) {
            query.set(to + i, q.get(from + i));
          }
          rotate(query, to + shape.plain(), q, from + shape.plain(), cos, sin, position, 1);
        });
  }

  static void assembleQueryBackward(Tensor dq, Tensor dQuery, Tensor cos, Tensor sin) {
    AttentionShape shape = AttentionShape.ofQuery(dQuery, dq, cos, sin);
    shape.forEachHeadRow(
        (head, token, position, byHead) -> {
          int to = token * shape.heads() * shape.keySize() + head * shape.keySize();
          int from = byHead * shape.keySize();
          for (int i = 0; i < shape.plain(); i++) {
            dq.set(to + i, dQuery.get(from + i));
          }
          // forward is a rotation; so its backward is the rotation by the opposite angle
          rotate(dq, to + shape.plain(), dQuery, from + shape.plain(), cos, sin, position, -1);
        });
  }

  static void assembleKeyValue(
      Tensor key, Tensor value, Tensor kv, Tensor keyRope, Tensor cos, Tensor sin) {
    AttentionShape shape = AttentionShape.ofKeyValue(key, value, kv, keyRope, cos, sin);
    int n = shape.plain();
    int v = shape.valueSize();
    shape.forEachHeadRow(
        (head, token, position, byHead) -> {
          int from = (token * shape.heads() + head) * (n + v);
          for (int i = 0; i < n; i++) {
            key.set(byHead * shape.keySize() + i, kv.get(from + i));
          }
          for (int i = 0; i < v; i++) {
            value.set(byHead * v + i, kv.get(from + n + i));
          }
          rotate(
              key,
              byHead * shape.keySize() + n,
              keyRope,
              token * shape.rotary(),
              cos,
              sin,
              position,
              1);
        });
  }

  static void assembleKeyValueBackward(
      Tensor dkv, Tensor dKeyRope, Tensor dKey, Tensor dValue, Tensor cos, Tensor sin) {
    AttentionShape shape = AttentionShape.ofKeyValue(dKey, dValue, dkv, dKeyRope, cos, sin);
    int n = shape.plain();
    int r = shape.rotary();
    int v = shape.valueSize();
    double[] rope = new double[dKeyRope.size()];
    shape.forEachHeadRow(
        (head, token, position, byHead) -> {
          int to = (token * shape.heads() + head) * (n + v);
          for (int i = 0; i < n; i++) {
            dkv.set(to + i, dKey.get(byHead * shape.keySize() + i));
          }
          for (int i = 0; i < v; i++) {
            dkv.set(to + n + i, dValue.get(byHead * v + i));
          }
          // forward: every head got the same rotated key; so its gradient is the sum over heads,
          // rotated back
          int from = byHead * shape.keySize() + n;
          for (int i = 0; i < r; i += 2) {
            double c = cos.get(position * r / 2 + i / 2);
            double s = sin.get(position * r / 2 + i / 2);
            rope[token * r + i] += dKey.get(from + i) * c + dKey.get(from + i + 1) * s;
            rope[token * r + i + 1] += dKey.get(from + i + 1) * c - dKey.get(from + i) * s;
          }
        });
    store(dKeyRope, 0, rope);
  }

  /**
   * (a, b) -> (a cos - b sin, a sin + b cos) over interleaved pairs; {@code sign} -1 turns back.
   */
  static void rotate(
      Tensor y, int yStart, Tensor x, int xStart, Tensor cos, Tensor sin, int position, int sign) {
    int pairs = cos.cols();
    for (int i = 0; i < pairs; i++) {
      double a = x.get(xStart + 2 * i);
      double b = x.get(xStart + 2 * i + 1);
      double c = cos.get(position * pairs + i);
      double s = sign * sin.get(position * pairs + i);
      y.set(yStart + 2 * i, a * c - b * s);
      y.set(yStart + 2 * i + 1, a * s + b * c);
    }
  }

  static void attention(
      Tensor out, Tensor logSumExp, Tensor query, Tensor key, Tensor value, double scale) {
    AttentionShape shape = AttentionShape.of(out, logSumExp, query, key, value);
    int v = shape.valueSize();
    shape.forEachHeadRow(
        (head, token, position, byHead) -> {
          int first = byHead - position;
          double[] scores = scores(shape, query, key, byHead, position, scale);
          double largest = Double.NEGATIVE_INFINITY;
          for (double score : scores) {
            largest = Math.max(largest, score);
          }
          double sum = 0;
          for (double score : scores) {
            sum += Math.exp(score - largest);
          }
          // out = sum_j softmax(scale q k_j) v_j over j <= position
          logSumExp.set(byHead, largest + Math.log(sum));
          double[] mixed = new double[v];
          for (int j = 0; j <= position; j++) {
            double p = Math.exp(scores[j] - largest) / sum;
            for (int i = 0; i < v; i++) {
              mixed[i] += p * value.get((first + j) * v + i);
            }
          }
          store(out, (token * shape.heads() + head) * v, mixed);
        });
  }

  static void attentionBackward(
      Tensor dQuery,
      Tensor dKey,
      Tensor dValue,
      Tensor dOut,
      Tensor out,
      Tensor logSumExp,
      Tensor query,
      Tensor key,
      Tensor value,
      double scale) {
    AttentionShape shape = AttentionShape.of(out, logSumExp, query, key, value);
    KernelArguments.sameSize(dQuery, query);
    KernelArguments.sameSize(dKey, key);
    KernelArguments.sameSize(dValue, value);
    KernelArguments.sameSize(dOut, out);
    int c = shape.keySize();
    int v = shape.valueSize();
    double[] dKeySum = new double[key.size()];
    double[] dValueSum = new double[value.size()];
    shape.forEachHeadRow(
        (head, token, position, byHead) -> {
          int first = byHead - position;
          double[] scores = scores(shape, query, key, byHead, position, scale);
          double[] gradient = values(dOut, (token * shape.heads() + head) * v, v);
          double[] output = values(out, (token * shape.heads() + head) * v, v);
          double[] dQuerySum = new double[c];
          double delta = 0;
          for (int i = 0; i < v; i++) {
            delta += gradient[i] * output[i];
          }
          for (int j = 0; j <= position; j++) {
            // forward: out = sum_j p_j v_j; so dv_j += p_j dout and dp_j = <dout, v_j>
            double p = Math.exp(scores[j] - logSumExp.get(byHead));
            double dp = 0;
            for (int i = 0; i < v; i++) {
              dValueSum[(first + j) * v + i] += p * gradient[i];
              dp += gradient[i] * value.get((first + j) * v + i);
            }
            // forward: p = softmax(scale q k); so dscore_j = p_j (dp_j - sum_i p_i dp_i), and the
            // sum is <dout, out>
            double dScore = p * (dp - delta) * scale;
            for (int i = 0; i < c; i++) {
              dQuerySum[i] += dScore * key.get((first + j) * c + i);
              dKeySum[(first + j) * c + i] += dScore * query.get(byHead * c + i);
            }
          }
          store(dQuery, byHead * c, dQuerySum);
        });
    store(dKey, 0, dKeySum);
    store(dValue, 0, dValueSum);
  }

  /** scale <q, k_j> for every j up to the query's own position. */
  private static double[] scores(
      AttentionShape shape, Tensor query, Tensor key, int byHead, int position, double scale) {
    int c = shape.keySize();
    int first = byHead - position;
    double[] scores = new double[position + 1];
    for (int j = 0; j <= position; j++) {
      double dot = 0;
      for (int i = 0; i < c; i++) {
        dot += query.get(byHead * c + i) * key.get((first + j) * c + i);
      }
      scores[j] = scale * dot;
    }
    return scores;
  }
}
