package io.sparkmoe.kernel;

/**
 * How one product is cut into tasks for several threads, by size alone: tiles of the result, and
 * slices of the inner size whose partial sums are added up.
 *
 * @param rows rows of a tile
 * @param columns columns of a tile
 * @param slices parts of the inner size; one unless the result makes too few good tiles
 */
record Tiling(int rows, int columns, int slices) {

  /** Rows of the largest tile. */
  private static final int ROWS = 256;

  /** Columns of a tile; narrower ones run at three quarters of the speed. */
  private static final int COLUMNS = 256;

  /** Rows of a tile below which products slow down. */
  private static final int ROWS_GOOD = 128;

  /** Tasks wanted of a product that is worth cutting, as long as the tasks stay good. */
  private static final int WANTED = 16;

  /**
   * Sides of the smallest tile, which only a product that would keep most threads idle is cut to.
   */
  private static final int LEAST = 64;

  private static final int TASKS_LEAST = 4;

  /** Multiplications of a task below which cutting it further does not pay: some 20 us. */
  private static final long WORK = 1 << 21;

  /** Inner size of the shortest slice: adding its sums up takes a tenth of computing them. */
  private static final int SLICE = 512;

  /**
   * Of a product (m, k) (k, n).
   *
   * @param tall whether the inner size counts tokens, as in weight gradients: such a product is
   *     rather sliced than cut to narrow tiles
   */
  static Tiling of(int m, int n, int k, boolean tall) {
    int rows = Math.min(m, ROWS);
    int columns = Math.min(n, COLUMNS);
    int whole = Pieces.count(m, rows) * Pieces.count(n, columns);
    int slices = tall ? Math.min(WANTED / whole, k / SLICE) : 1;
    if (slices > 1) {
      return new Tiling(rows, columns, slices);
    }
    while ((long) rows * columns * k > WORK) {
      int tiles = Pieces.count(m, rows) * Pieces.count(n, columns);
      if (tiles < WANTED && rows > ROWS_GOOD) {
        rows = half(rows);
      } else if (tiles < TASKS_LEAST && Math.max(rows, columns) > LEAST) {
        if (rows > columns) {
          rows = half(rows);
        } else {
          columns = half(columns);
        }
      } else {
        break;
      }
    }
    return new Tiling(rows, columns, 1);
  }

  /** Half of a side, a multiple of the smallest tile's so that few shapes occur. */
  private static int half(int side) {
    return Pieces.count(side / 2, LEAST) * LEAST;
  }

  /** First element of a slice of the inner size k, a multiple of {@value #LEAST}; k for the end. */
  int sliceStart(int slice, int k) {
    return slice == slices ? k : (int) ((long) k * slice / slices) / LEAST * LEAST;
  }
}
