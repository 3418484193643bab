package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.Arrays;

/**
 * Products on all threads: tiles of one large product, or the experts' products as one queue with
 * the largest first. A tile has the whole inner size, so cutting changes no sum. E experts.
 */
final class VectorMatmul {

  /** Rows of the largest tile. */
  private static final int TILE_ROWS = 256;

  /** Columns of a tile; narrower ones run at three quarters of the speed. */
  private static final int TILE_COLUMNS = 256;

  /** Rows of a tile below which products slow down. */
  private static final int TILE_ROWS_GOOD = 128;

  /** Tiles wanted of a product that is worth cutting, as long as the tiles stay good. */
  private static final int TILES_WANTED = 16;

  /**
   * Sides of the smallest tile, which only a product that would keep most threads idle is cut to.
   */
  private static final int TILE_LEAST = 64;

  private static final int TILES_LEAST = 4;

  /** Multiplications of a tile below which cutting it further does not pay: some 20 us. */
  private static final long TILE_WORK = 1 << 21;

  /** An expert's rows in one task of a grouped product. */
  private static final int EXPERT_ROWS = 256;

  /**
   * Rows of the result in one task of a weight gradient whose expert has more than {@link
   * #HEAVY_ROWS} tokens.
   */
  private static final int GRADIENT_ROWS = 64;

  private static final int HEAVY_ROWS = 512;

  /** Weights of one product that are fetched ahead: what fits a core's cache on any server. */
  private static final long FETCH_BYTES = 1 << 20;

  private final Gemm gemm;
  private final Parallel parallel;

  /**
   * What {@link #fetch} read, whichever thread wrote it last: kept only so that the compiler does
   * not drop the reads.
   */
  private int fetched;

  VectorMatmul(Gemm gemm, Parallel parallel) {
    this.gemm = gemm;
    this.parallel = parallel;
  }

  void matmul(
      Tensor c, Tensor a, boolean transposeA, Tensor b, boolean transposeB, boolean accumulate) {
    int m = c.rows();
    int n = c.cols();
    int k = transposeA ? a.rows() : a.cols();
    if (c.size() == 0) {
      return;
    }
    int tileRows = Math.min(m, TILE_ROWS);
    int tileColumns = Math.min(n, TILE_COLUMNS);
    while ((long) tileRows * tileColumns * k > TILE_WORK) {
      int tiles = Pieces.count(m, tileRows) * Pieces.count(n, tileColumns);
      if (tiles < TILES_WANTED && tileRows > TILE_ROWS_GOOD) {
        tileRows = half(tileRows);
      } else if (tiles < TILES_LEAST && Math.max(tileRows, tileColumns) > TILE_LEAST) {
        if (tileRows > tileColumns) {
          tileRows = half(tileRows);
        } else {
          tileColumns = half(tileColumns);
        }
      } else {
        break;
      }
    }
    int columns = tileColumns;
    int rows = tileRows;
    int across = Pieces.count(n, columns);
    parallel.forEach(
        Pieces.count(m, rows) * across,
        tile -> {
          int row = tile / across * rows;
          int column = tile % across * columns;
          multiply(
              a.type(),
              transposeA,
              transposeB,
              Math.min(rows, m - row),
              Math.min(columns, n - column),
              k,
              Lanes.address(a, transposeA ? row : row * k),
              a.cols(),
              Lanes.address(b, transposeB ? column * k : column),
              b.cols(),
              Lanes.address(c, row * n + column),
              n,
              accumulate);
        });
  }

  /** Half of a side, a multiple of the smallest tile's so that few shapes occur. */
  private static int half(int side) {
    return Pieces.count(side / 2, TILE_LEAST) * TILE_LEAST;
  }

  void grouped(
      Tensor c, Tensor a, Tensor b, boolean transposeB, int[] rowStarts, boolean accumulate) {
    int n = c.cols();
    int k = a.cols();
    int[] tasks = new int[b.dim(0)];
    for (int e = 0; e < tasks.length; e++) {
      tasks[e] = Pieces.count(rowStarts[e + 1] - rowStarts[e], EXPERT_ROWS);
    }
    runLargestFirst(
        rowStarts,
        tasks,
        (e, task) -> {
          int first = rowStarts[e] + task * EXPERT_ROWS;
          int rows = Math.min(EXPERT_ROWS, rowStarts[e + 1] - first);
          fetch(b, e * n * k, n * k);
          multiply(
              a.type(),
              false,
              transposeB,
              rows,
              n,
              k,
              Lanes.address(a, first * k),
              k,
              Lanes.address(b, e * n * k),
              transposeB ? k : n,
              Lanes.address(c, first * n),
              n,
              accumulate);
        });
  }

  void groupedWeightGradient(Tensor dw, Tensor dy, Tensor x, int[] rowStarts, boolean accumulate) {
    int n = dy.cols();
    int k = x.cols();
    int[] tasks = new int[dw.dim(0)];
    for (int e = 0; e < tasks.length; e++) {
      int rows = rowStarts[e + 1] - rowStarts[e];
      tasks[e] = rows == 0 ? 0 : rows > HEAVY_ROWS ? Pieces.count(n, GRADIENT_ROWS) : 1;
    }
    runLargestFirst(
        rowStarts,
        tasks,
        (e, task) -> {
          int first = rowStarts[e];
          int from = tasks[e] == 1 ? 0 : task * GRADIENT_ROWS;
          int height = tasks[e] == 1 ? n : Math.min(GRADIENT_ROWS, n - from);
          multiply(
              x.type(),
              true,
              false,
              height,
              k,
              rowStarts[e + 1] - first,
              Lanes.address(dy, first * n + from),
              n,
              Lanes.address(x, first * k),
              k,
              Lanes.address(dw, e * n * k + from * k),
              k,
              accumulate);
        });
  }

  /** See {@link Kernels#forEachGroup}. */
  void forEachGroup(int[] rowStarts, Kernels.GroupBody body) {
    int[] tasks = new int[rowStarts.length - 1];
    for (int g = 0; g < tasks.length; g++) {
      int rows = rowStarts[g + 1] - rowStarts[g];
      tasks[g] = rows > 0 && rows <= HEAVY_ROWS ? 1 : 0;
      if (rows > HEAVY_ROWS) {
        body.run(g);
      }
    }
    runLargestFirst(rowStarts, tasks, (group, task) -> body.run(group));
  }

  /**
   * Brings an expert's weights into the core's cache, if they fit. Every expert has its own, so the
   * library would meet them in memory, in an order that the processor does not foresee; one pass
   * from end to end runs several times as fast. The rows were just computed.
   */
  private void fetch(Tensor weights, int from, int size) {
    if ((long) size * weights.type().sizeBytes() <= FETCH_BYTES) {
      fetched = Lanes.fetch(weights, from, size);
    }
  }

  /** The library's product of inputs of type F32 or BF16. */
  private void multiply(
      DType inputs,
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      long a,
      int lda,
      long b,
      int ldb,
      long c,
      int ldc,
      boolean accumulate) {
    if (inputs == DType.BF16) {
      gemm.multiplyBfloat16(transposeA, transposeB, m, n, k, a, lda, b, ldb, c, ldc, accumulate);
    } else {
      gemm.multiply(transposeA, transposeB, m, n, k, a, lda, b, ldb, c, ldc, accumulate);
    }
  }

  /** One task of one expert. */
  @FunctionalInterface
  private interface ExpertTask {
    void run(int expert, int task);
  }

  /**
   * Runs the given number of tasks of every expert, experts with most rows first, so that no long
   * one is left last.
   */
  private void runLargestFirst(int[] rowStarts, int[] tasks, ExpertTask body) {
    long[] order = new long[tasks.length];
    for (int e = 0; e < order.length; e++) {
      order[e] = ((long) (rowStarts[e] - rowStarts[e + 1]) << 32) + e;
    }
    Arrays.sort(order);
    int[] ends = new int[order.length];
    int total = 0;
    for (int i = 0; i < order.length; i++) {
      total += tasks[(int) order[i]];
      ends[i] = total;
    }
    parallel.forEach(
        total,
        piece -> {
          // The expert whose tasks [end of the one before, its end) hold this piece; ends repeat
          // where there are no tasks.
          int at = Arrays.binarySearch(ends, piece + 1);
          at = at < 0 ? -at - 1 : at;
          while (at > 0 && ends[at - 1] > piece) {
            at--;
          }
          int expert = (int) order[at];
          body.run(expert, piece - (ends[at] - tasks[expert]));
        });
  }
}
