package io.sparkmoe.kernel;

import io.sparkmoe.kernel.DecodeKernels.CachedRows;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.List;
import jdk.incubator.vector.FloatVector;

/**
 * Fast attention over cached latents. A few new rows of a sequence go row by row and head by head;
 * many (a prompt's) go to the matrix library in blocks of queries. H heads, L width of a latent, R
 * rotary channels.
 */
final class VectorLatentAttention {

  /** New rows of a sequence from which on blocks are faster than single rows. */
  private static final int BLOCK_FROM = 16;

  /** Queries of a block. */
  private static final int QUERIES = 64;

  /**
   * Entries of one product: with {@link AttentionTile#stride} few shapes of products occur, however
   * long the cache is.
   */
  private static final int ENTRIES = 256;

  private final Gemm gemm;
  private final Parallel parallel;
  private final ThreadLocal<Scratch> scratch = ThreadLocal.withInitial(Scratch::new);

  private final List<Pass<Row>> passes =
      List.of(
          VectorLatentAttention::score, VectorLatentAttention::softmax, VectorLatentAttention::mix);

  VectorLatentAttention(Gemm gemm, Parallel parallel) {
    this.gemm = gemm;
    this.parallel = parallel;
  }

  void attention(Tensor context, Tensor query, CachedRows[] views, float scale) {
    int heads = query.dim(1);
    int[] pieceEnds = new int[views.length];
    int[] firstRows = new int[views.length];
    int pieces = 0;
    int row = 0;
    for (int s = 0; s < views.length; s++) {
      int rows = views[s].rows();
      firstRows[s] = row;
      pieces += heads * (rows < BLOCK_FROM ? rows : Pieces.count(rows, QUERIES));
      pieceEnds[s] = pieces;
      row += rows;
    }
    Parallel.Body body =
        piece -> {
          int s = 0;
          while (pieceEnds[s] <= piece) {
            s++;
          }
          int own = piece - (s == 0 ? 0 : pieceEnds[s - 1]);
          if (views[s].rows() < BLOCK_FROM) {
            row(context, query, views[s], firstRows[s], own / heads, own % heads, scale);
          } else {
            block(context, query, views[s], firstRows[s], own / heads, own % heads, scale);
          }
        };
    if (pieces == 1) {
      body.run(0);
    } else {
      parallel.forEach(pieces, body);
    }
  }

  private void row(
      Tensor context, Tensor query, CachedRows view, int firstRow, int own, int head, float scale) {
    int heads = query.dim(1);
    int width = query.cols();
    int latent = context.cols();
    int seen = view.length() - view.rows() + own + 1;
    int at = (firstRow + own) * heads + head;
    Row row =
        new Row(
            query.bytes(),
            at * width,
            view.entries().bytes(),
            width,
            seen,
            scale,
            scratch.get().floats(wholeVectors(seen)),
            context.bytes(),
            at * latent,
            latent);
    for (Pass<Row> pass : passes) {
      pass.run(row);
    }
  }

  /**
   * One head of a new row.
   *
   * @param queryAt element of {@code query} where the head's channels start
   * @param entries what the cache holds, {@code width} elements each
   * @param seen entries up to the row's own
   * @param scores one for each entry seen, then probabilities
   * @param contextAt element of {@code context} where the result of {@code latent} channels starts
   */
  private record Row(
      ByteBuffer query,
      int queryAt,
      ByteBuffer entries,
      int width,
      int seen,
      float scale,
      ByteBuffer scores,
      ByteBuffer context,
      int contextAt,
      int latent) {}

  private static void score(Row row) {
    int width = row.width;
    for (int j = 0; j < row.seen; j++) {
      float score = VectorRows.dot(row.query, row.queryAt, row.entries, j * width, width);
      Lanes.set(row.scores, j, score);
    }
  }

  private static void softmax(Row row) {
    AttentionTile.softmaxRow(row.scores, 0, row.seen, wholeVectors(row.seen), row.scale);
  }

  /** Room for a row of scores, so that its softmax ends without single elements. */
  private static int wholeVectors(int seen) {
    return Pieces.count(seen, Lanes.LENGTH) * Lanes.LENGTH;
  }

  /** y = sum_j p[j] entry[j] over the first {@code latent} channels, j ascending. */
  private static void mix(Row row) {
    ByteBuffer y = row.context;
    int yAt = row.contextAt;
    ByteBuffer p = row.scores;
    ByteBuffer entries = row.entries;
    int width = row.width;
    int latent = row.latent;
    int seen = row.seen;
    int step = 2 * Lanes.LENGTH;
    int i = 0;
    for (; i + step <= latent; i += step) {
      FloatVector a = VectorMath.zero();
      FloatVector b = VectorMath.zero();
      for (int j = 0, at = i; j < seen; j++, at += width) {
        FloatVector weight = VectorMath.splat(Lanes.get(p, j));
        a = VectorMath.fma(weight, Lanes.load(entries, at), a);
        b = VectorMath.fma(weight, Lanes.load(entries, at + Lanes.LENGTH), b);
      }
      Lanes.store(y, yAt + i, a);
      Lanes.store(y, yAt + i + Lanes.LENGTH, b);
    }
    for (; i < latent; i++) {
      float sum = 0;
      for (int j = 0; j < seen; j++) {
        sum = Math.fma(Lanes.get(p, j), Lanes.get(entries, j * width + i), sum);
      }
      Lanes.set(y, yAt + i, sum);
    }
  }

  private void block(
      Tensor context,
      Tensor query,
      CachedRows view,
      int firstRow,
      int block,
      int head,
      float scale) {
    int heads = query.dim(1);
    int width = query.cols();
    int latent = context.cols();
    int first = block * QUERIES;
    int queries = Math.min(QUERIES, view.rows() - first);
    int past = view.length() - view.rows();
    int seen = past + first + queries;
    int stride = AttentionTile.stride(view.length());
    Scratch own = scratch.get();
    ByteBuffer tile = own.floats(QUERIES * stride);
    int at = (firstRow + first) * heads + head;
    for (int k = 0; k < seen; k += ENTRIES) {
      gemm.multiply(
          false,
          true,
          queries,
          Math.min(ENTRIES, seen - k),
          width,
          Lanes.address(query, at * width),
          heads * width,
          Lanes.address(view.entries(), k * width),
          width,
          own.address() + 4L * k,
          stride,
          false);
    }
    for (int i = 0; i < queries; i++) {
      int visible = past + first + i + 1;
      AttentionTile.softmaxRow(tile, i * stride, visible, seen, scale);
      Lanes.clear(tile, i * stride + visible, seen - visible);
    }
    for (int k = 0; k < seen; k += ENTRIES) {
      gemm.multiply(
          false,
          false,
          queries,
          latent,
          Math.min(ENTRIES, seen - k),
          own.address() + 4L * k,
          stride,
          Lanes.address(view.entries(), k * width),
          width,
          Lanes.address(context, at * latent),
          heads * latent,
          k > 0);
    }
  }
}
