package io.sparkmoe.kernel;

import io.sparkmoe.kernel.DecodeKernels.CachedRows;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import jdk.incubator.vector.FloatVector;

/**
 * Fast attention over cached latents. A few new rows of a block of positions go row by row and head
 * by head; many (a prompt's) go to the matrix library together. H heads, L width of a latent, R
 * rotary channels.
 */
final class VectorLatentAttention {

  /** New rows of a block from which on the matrix library is faster than single rows. */
  private static final int BLOCK_FROM = 16;

  /** Positions of a block. */
  private static final int QUERIES = DecodeKernels.BLOCK_POSITIONS;

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
    List<Part> parts = parts(views);
    Parallel.Body body =
        piece -> {
          Part part = parts.get(piece / heads);
          if (part.queries == 1) {
            row(context, query, part, piece % heads, scale);
          } else {
            block(context, query, part, piece % heads, scale);
          }
        };
    int pieces = parts.size() * heads;
    if (pieces == 1) {
      body.run(0);
    } else {
      parallel.forEach(pieces, body);
    }
  }

  /**
   * New rows of a sequence that are computed together.
   *
   * @param firstRow row of {@code query} that the first of them is
   * @param past entries before it
   * @param queries their number: 1, or those of a block
   */
  private record Part(CachedRows view, int firstRow, int past, int queries) {}

  /** Blocks lie at fixed positions of a sequence, so what else is in the pass moves none. */
  private static List<Part> parts(CachedRows[] views) {
    List<Part> parts = new ArrayList<>();
    int row = 0;
    for (CachedRows view : views) {
      int position = view.length() - view.rows();
      while (position < view.length()) {
        int end = Math.min(view.length(), (position / QUERIES + 1) * QUERIES);
        int queries = end - position < BLOCK_FROM ? 1 : end - position;
        for (; position < end; position += queries, row += queries) {
          parts.add(new Part(view, row, position, queries));
        }
      }
    }
    return parts;
  }

  private void row(Tensor context, Tensor query, Part part, int head, float scale) {
    int width = query.cols();
    int latent = context.cols();
    int seen = part.past + 1;
    int at = part.firstRow * query.dim(1) + head;
    Row row =
        new Row(
            query.bytes(),
            at * width,
            part.view.entries().bytes(),
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

  private void block(Tensor context, Tensor query, Part part, int head, float scale) {
    int heads = query.dim(1);
    int width = query.cols();
    int latent = context.cols();
    int queries = part.queries;
    Tensor entries = part.view.entries();
    int seen = part.past + queries;
    int stride = AttentionTile.stride(part.view.length());
    Scratch own = scratch.get();
    ByteBuffer tile = own.floats(QUERIES * stride);
    int at = part.firstRow * heads + head;
    for (int k = 0; k < seen; k += ENTRIES) {
      gemm.multiply(
          false,
          true,
          queries,
          Math.min(ENTRIES, seen - k),
          width,
          Lanes.address(query, at * width),
          heads * width,
          Lanes.address(entries, k * width),
          width,
          own.address() + 4L * k,
          stride,
          false);
    }
    for (int i = 0; i < queries; i++) {
      int visible = part.past + i + 1;
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
          Lanes.address(entries, k * width),
          width,
          Lanes.address(context, at * latent),
          heads * latent,
          k > 0);
    }
  }
}
