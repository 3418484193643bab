package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;

/**
 * Fast causal attention: a block of queries against the keys up to its last one, so the scores of a
 * block are the only buffer that grows with the sequence, and the upper triangle is skipped block
 * by block. B sequences, H heads, S tokens of a sequence, N query/key channels of a head, V value
 * channels.
 */
final class VectorAttention {

  /**
   * Queries of a block: rows enough for the matrix library, few enough that half of a diagonal
   * block wastes little.
   */
  private static final int QUERIES = 64;

  /**
   * Keys of one product: with {@link AttentionTile#stride} few shapes of products occur, however
   * long the sequence is.
   */
  private static final int KEYS = 256;

  private final Gemm gemm;
  private final Parallel parallel;
  private final ThreadLocal<AttentionTile> tiles =
      ThreadLocal.withInitial(() -> new AttentionTile(QUERIES));

  /** Held in fields that are not static, so that the compiler does not know which one it meets. */
  private final Pass<AttentionTile> softmax = AttentionTile::softmax;

  private final Pass<AttentionTile> probabilities = AttentionTile::probabilities;
  private final Pass<AttentionTile> scoreGradients = AttentionTile::scoreGradients;

  VectorAttention(Gemm gemm, Parallel parallel) {
    this.gemm = gemm;
    this.parallel = parallel;
  }

  void forward(Tensor out, Tensor logSumExp, Tensor query, Tensor key, Tensor value, double scale) {
    AttentionShape shape = AttentionShape.of(out, logSumExp, query, key, value);
    int blocks = Pieces.count(shape.length(), QUERIES);
    // The longest blocks come first: with few pieces a long one left for last would keep the other
    // threads waiting.
    parallel.forEach(
        shape.batch() * shape.heads() * blocks,
        piece -> {
          int sequences = shape.batch() * shape.heads();
          int block = blocks - 1 - piece / sequences;
          Head head = new Head(shape, piece % sequences);
          forwardBlock(head, block * QUERIES, out, logSumExp, query, key, value, (float) scale);
        });
  }

  /** One head of one sequence. */
  private record Head(AttentionShape shape, int number) {
    /** Row of the head's token {@code s} in tensors by head. */
    int row(int s) {
      return number * shape.length() + s;
    }

    /** Element of the head's token {@code s} in tensors by token. */
    int outAt(int s) {
      int token = number / shape.heads() * shape.length() + s;
      return (token * shape.heads() + number % shape.heads()) * shape.valueSize();
    }

    int outStride() {
      return shape.heads() * shape.valueSize();
    }
  }

  private void forwardBlock(
      Head head,
      int first,
      Tensor out,
      Tensor logSumExp,
      Tensor query,
      Tensor key,
      Tensor value,
      float scale) {
    int n = head.shape.keySize();
    int v = head.shape.valueSize();
    int queries = Math.min(QUERIES, head.shape.length() - first);
    int keys = first + queries;
    int stride = AttentionTile.stride(head.shape.length());
    AttentionTile tile = tiles.get();
    tile.open(first, queries, stride, 1, scale);
    timesTransposed(
        tile.scoresAt(),
        stride,
        queries,
        keys,
        n,
        Lanes.address(query, head.row(first) * n),
        n,
        Lanes.address(key, head.row(0) * n),
        n);
    tile.run(softmax);
    for (int i = 0; i < queries; i++) {
      logSumExp.setFloat(head.row(first + i), tile.logSums[i]);
    }
    times(
        Lanes.address(out, head.outAt(first)),
        head.outStride(),
        queries,
        v,
        keys,
        tile.scoresAt(),
        stride,
        Lanes.address(value, head.row(0) * v),
        v);
  }

  /**
   * Heads are the pieces: the blocks of one head add to the same key and value gradients, in order.
   */
  void backward(
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
    int n = shape.keySize();
    int v = shape.valueSize();
    parallel.forEach(
        shape.batch() * shape.heads(),
        number -> {
          Head head = new Head(shape, number);
          Lanes.clear(dKey.bytes(), head.row(0) * n, shape.length() * n);
          Lanes.clear(dValue.bytes(), head.row(0) * v, shape.length() * v);
          for (int first = 0; first < shape.length(); first += QUERIES) {
            backwardBlock(
                head,
                first,
                dQuery,
                dKey,
                dValue,
                dOut,
                out,
                logSumExp,
                query,
                key,
                value,
                (float) scale);
          }
        });
  }

  private void backwardBlock(
      Head head,
      int first,
      Tensor dQuery,
      Tensor dKey,
      Tensor dValue,
      Tensor dOut,
      Tensor out,
      Tensor logSumExp,
      Tensor query,
      Tensor key,
      Tensor value,
      float scale) {
    int n = head.shape.keySize();
    int v = head.shape.valueSize();
    int queries = Math.min(QUERIES, head.shape.length() - first);
    int keys = first + queries;
    int stride = AttentionTile.stride(head.shape.length());
    AttentionTile tile = tiles.get();
    tile.open(first, queries, stride, 2, scale);
    long p = tile.scoresAt();
    long dp = tile.gradientsAt();
    long queryAt = Lanes.address(query, head.row(first) * n);
    long keyAt = Lanes.address(key, head.row(0) * n);
    long dOutAt = Lanes.address(dOut, head.outAt(first));
    timesTransposed(p, stride, queries, keys, n, queryAt, n, keyAt, n);
    // forward: out = p v; so dp = dout v^T and dv += p^T dout
    timesTransposed(
        dp,
        stride,
        queries,
        keys,
        v,
        dOutAt,
        head.outStride(),
        Lanes.address(value, head.row(0) * v),
        v);
    for (int i = 0; i < queries; i++) {
      int at = head.outAt(first + i);
      tile.deltas[i] = VectorRows.dot(dOut.bytes(), at, out.bytes(), at, v);
      tile.logSums[i] = logSumExp.getFloat(head.row(first + i));
    }
    tile.run(probabilities);
    tile.run(scoreGradients);
    transposedTimes(
        Lanes.address(dValue, head.row(0) * v),
        v,
        keys,
        v,
        queries,
        p,
        stride,
        dOutAt,
        head.outStride());
    // forward: scores = scale q k^T; so dq = dscores k and dk += dscores^T q, with the scale
    // already in dscores
    times(Lanes.address(dQuery, head.row(first) * n), n, queries, n, keys, dp, stride, keyAt, n);
    transposedTimes(
        Lanes.address(dKey, head.row(0) * n), n, keys, n, queries, dp, stride, queryAt, n);
  }

  /** c (rows, keys) = a b^T, in strips of keys. */
  private void timesTransposed(
      long c, int ldc, int rows, int keys, int inner, long a, int lda, long b, int ldb) {
    for (int k = 0; k < keys; k += KEYS) {
      int strip = Math.min(KEYS, keys - k);
      gemm.multiply(
          false, true, rows, strip, inner, a, lda, b + 4L * k * ldb, ldb, c + 4L * k, ldc, false);
    }
  }

  /** c (rows, columns) = a b, summed over strips of keys in order. */
  private void times(
      long c, int ldc, int rows, int columns, int keys, long a, int lda, long b, int ldb) {
    for (int k = 0; k < keys; k += KEYS) {
      int strip = Math.min(KEYS, keys - k);
      gemm.multiply(
          false,
          false,
          rows,
          columns,
          strip,
          a + 4L * k,
          lda,
          b + 4L * k * ldb,
          ldb,
          c,
          ldc,
          k > 0);
    }
  }

  /** c (keys, columns) += a^T b, in strips of keys. */
  private void transposedTimes(
      long c, int ldc, int keys, int columns, int inner, long a, int lda, long b, int ldb) {
    for (int k = 0; k < keys; k += KEYS) {
      int strip = Math.min(KEYS, keys - k);
      gemm.multiply(
          true, false, strip, columns, inner, a + 4L * k, lda, b, ldb, c + 4L * k * ldc, ldc, true);
    }
  }
}
