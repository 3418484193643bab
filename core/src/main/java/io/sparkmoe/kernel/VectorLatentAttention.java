package io.sparkmoe.kernel;

import io.sparkmoe.kernel.DecodeKernels.CachedRows;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * Fast attention over cached latents. A few new rows of a block of positions go row by row; many (a
 * prompt's) go to the matrix library together. H heads, L width of a latent, R rotary channels.
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
  private final ThreadLocal<VectorLatentRow> rows = ThreadLocal.withInitial(VectorLatentRow::new);

  VectorLatentAttention(Gemm gemm, Parallel parallel) {
    this.gemm = gemm;
    this.parallel = parallel;
  }

  void attention(Tensor context, Tensor query, CachedRows[] views, float scale) {
    List<Piece> pieces = pieces(parts(views), query.dim(1));
    Parallel.Body body =
        number -> {
          Piece piece = pieces.get(number);
          if (piece.part.queries == 1) {
            row(context, query, piece, scale);
          } else {
            block(context, query, piece.part, piece.firstHead, scale);
          }
        };
    if (pieces.size() == 1) {
      body.run(0);
    } else {
      parallel.forEach(pieces.size(), body);
    }
  }

  /** Some heads of a part. */
  private record Piece(Part part, int firstHead, int heads) {}

  /**
   * Single heads of blocks; of single rows as many as leave every thread a piece, because they
   * share the work of reading entries.
   */
  private List<Piece> pieces(List<Part> parts, int heads) {
    int shared = Math.min(heads, Pieces.count(parts.size() * heads, parallel.threads()));
    List<Piece> pieces = new ArrayList<>();
    for (Part part : parts) {
      int step = part.queries == 1 ? shared : 1;
      for (int head = 0; head < heads; head += step) {
        pieces.add(new Piece(part, head, Math.min(step, heads - head)));
      }
    }
    return pieces;
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

  private void row(Tensor context, Tensor query, Piece piece, float scale) {
    Part part = piece.part;
    int width = query.cols();
    int latent = context.cols();
    int at = part.firstRow * query.dim(1) + piece.firstHead;
    rows.get()
        .run(
            context.bytes(),
            at * latent,
            latent,
            query.bytes(),
            at * width,
            width,
            piece.heads,
            part.view.entries().bytes(),
            part.past + 1,
            scale);
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
