package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * Products on all threads: one large product cut as {@link Tiling} says, or the experts' products
 * as one queue with the largest first. Cutting depends on the size alone, and so does every sum. E
 * experts.
 */
final class VectorMatmul {

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
  private final ThreadLocal<Scratch> partialSums = ThreadLocal.withInitial(Scratch::new);

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
    Tiling tiling = Tiling.of(m, n, k, transposeA);
    int across = Pieces.count(n, tiling.columns());
    int tiles = Pieces.count(m, tiling.rows()) * across;
    // The first slice goes to c, the others to memory of their own.
    Scratch others = partialSums.get();
    ByteBuffer sums = others.floats((tiling.slices() - 1) * c.size());
    long sumsAddress = others.address();
    parallel.forEach(
        tiles * tiling.slices(),
        task -> {
          int slice = task / tiles;
          int from = tiling.sliceStart(slice, k);
          int inner = tiling.sliceStart(slice + 1, k) - from;
          int row = task % tiles / across * tiling.rows();
          int column = task % tiles % across * tiling.columns();
          long to =
              slice == 0
                  ? Lanes.address(c, 0)
                  : sumsAddress + (long) Float.BYTES * (slice - 1) * c.size();
          multiply(
              a.type(),
              transposeA,
              transposeB,
              Math.min(tiling.rows(), m - row),
              Math.min(tiling.columns(), n - column),
              inner,
              Lanes.address(a, transposeA ? from * m + row : row * k + from),
              a.cols(),
              Lanes.address(b, transposeB ? column * k + from : from * n + column),
              b.cols(),
              to + (long) Float.BYTES * (row * n + column),
              n,
              accumulate && slice == 0);
        });
    if (tiling.slices() > 1) {
      addSlices(c, sums, tiling.slices() - 1);
    }
  }

  /** {@code c += sums[0] + sums[1] + ..}, in that order. */
  private void addSlices(Tensor c, ByteBuffer sums, int count) {
    ByteBuffer to = c.bytes();
    int size = c.size();
    Pieces.forEach(
        parallel,
        size,
        Pieces.GRAIN,
        (first, end) -> {
          for (int slice = 0; slice < count; slice++) {
            VectorRows.addScaledRow(to, first, sums, slice * size + first, 1, end - first);
          }
        });
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
