package io.sparkmoe.kernel;

/**
 * Which values of a matrix share one FP8 scale. Fewer neighbours keep a token's outliers from
 * costing other tokens their precision [1, section 3.3.2]; what a product sums over must lie along
 * the tile, or its scale could not be taken out of the sum.
 *
 * <p>[1] DeepSeek-V3 technical report.
 */
public enum Fp8Granularity {
  /** 128 columns of a row: activations and their gradients, summed over columns. */
  TILE_1X128(1, 128),
  /** 128 rows of a column: the same tensors in a weight gradient, which sums over tokens. */
  TILE_128X1(128, 1),
  /** 128 rows and 128 columns: weights, which are summed over either way. */
  BLOCK_128X128(128, 128),
  /** A whole matrix, or a whole group of its rows. */
  TENSOR(Integer.MAX_VALUE, Integer.MAX_VALUE);

  /** Columns that share a scale byte where scales are kept; see {@link Fp8Tensor}. */
  public static final int SCALE_COLUMNS = 128;

  private final int rows;
  private final int columns;

  Fp8Granularity(int rows, int columns) {
    this.rows = rows;
    this.columns = columns;
  }

  /** Most rows of a tile. */
  int rows() {
    return rows;
  }

  /** Most columns of a tile. */
  int columns() {
    return columns;
  }
}
