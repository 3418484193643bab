package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.PowerOfTwoScale;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.Collection;
import java.util.EnumMap;
import java.util.Map;

/**
 * Fast rounding to FP8 and back, in blocks of at most 128 rows and 128 columns, which stay in the
 * inner caches while one {@link Pass} after the other is made over them: read, find the scales,
 * write. Every pass goes row by row, whatever the tiles are, so that nothing strides through
 * memory.
 *
 * <p>Legend: R rows, N columns.
 */
final class VectorFp8 {

  private static final int TILE = Fp8Granularity.SCALE_COLUMNS;

  /** Half of the second-level cache of the smallest servers, which holds the results as well. */
  private static final int BAND_BYTES = 1 << 19;

  private static final Fp8Scaling ROW_TILES =
      new Fp8Scaling(Fp8Format.E4M3, Fp8Granularity.TILE_1X128);

  private final Parallel parallel;
  private final Map<Fp8Format, VectorFp8Lanes> formats = new EnumMap<>(Fp8Format.class);
  private final ThreadLocal<Workspace> workspaces;

  VectorFp8(Parallel parallel) {
    this.parallel = parallel;
    for (Fp8Format format : Fp8Format.values()) {
      formats.put(format, new VectorFp8Lanes(format));
    }
    workspaces = ThreadLocal.withInitial(() -> new Workspace(formats.values()));
  }

  /** Rows [row, end) and columns [column, column + count), which have one column of scales. */
  private record Block(int number, int row, int end, int column, int count) {}

  /** What a thread knows of its block. */
  private static final class Workspace {
    Block block;

    /** Row r starts at element {@code r * TILE}. */
    final float[] values = new float[TILE * TILE];

    final RowScales rows = new RowScales();
    final Map<Fp8Format, ColumnScales> columns = new EnumMap<>(Fp8Format.class);

    /** What was read ahead; kept so that the reading is not optimised away. */
    int fetched;

    Workspace(Collection<VectorFp8Lanes> formats) {
      formats.forEach(lanes -> columns.put(lanes.format(), new ColumnScales(lanes)));
    }

    int height() {
      return block.end - block.row;
    }

    /** Element of a tensor of n columns at which row r of the block starts. */
    int at(int r, int n) {
      return (block.row + r) * n + block.column;
    }
  }

  // ---- the operations

  void quantize(Tensor operand, Fp8Tensor kept, Tensor x, int[] rowStarts, Fp8Scaling scaling) {
    int[] groups = KernelArguments.groups(x, rowStarts);
    int n = width(x.cols(), scaling);
    Pass<Workspace> read = x.type() == DType.F32 ? copied(x, n) : widened(x, n);
    quantize(operand, kept, n, ahead(x, n, read), flattened(groups, x.cols(), n), scaling);
  }

  void requantize(Tensor operand, Fp8Tensor x, int[] rowStarts, Fp8Scaling scaling) {
    int[] groups = KernelArguments.groups(x.codes(), rowStarts);
    int columns = x.codes().cols();
    int n = width(columns, scaling);
    quantize(
        operand,
        null,
        n,
        ahead(x.codes(), n, decoded(x, n)),
        flattened(groups, columns, n),
        scaling);
  }

  void dequantize(Tensor values, Fp8Tensor x) {
    int n = width(x.codes().cols(), ROW_TILES);
    int[] all = {0, n == 0 ? 0 : x.codes().size() / n};
    run(n, blocks(all, n), decode(values, x, n));
  }

  /**
   * Columns to work with: where tiles along rows fill them, all rows are one row of tiles, and a
   * block's tiles lie one after the other in memory.
   */
  private static int width(int columns, Fp8Scaling scaling) {
    boolean flat = scaling.granularity() == Fp8Granularity.TILE_1X128 && columns % TILE == 0;
    return flat ? Math.min(columns, TILE) : columns;
  }

  /** Row numbers of a matrix of {@code columns} columns, counted in rows of n. */
  private static int[] flattened(int[] rows, int columns, int n) {
    return n == columns ? rows : Arrays.stream(rows).map(row -> row * (columns / n)).toArray();
  }

  private void quantize(
      Tensor operand,
      Fp8Tensor kept,
      int n,
      Pass<Workspace> read,
      int[] groups,
      Fp8Scaling scaling) {
    VectorFp8Lanes lanes = formats.get(scaling.format());
    Pass<Workspace> round = operand == null ? null : round(operand, n, lanes);
    Pass<Workspace> encode = kept == null ? null : encode(kept, n, lanes);
    Pass<Workspace> largest = VectorFp8::largest;
    switch (scaling.granularity()) {
      case TILE_1X128 -> {
        int[] all = {groups[0], groups[groups.length - 1]};
        run(n, blocks(all, n), read, largest, rowScales(scaling.format()), round, encode);
      }
      case TILE_128X1 ->
          run(n, blocks(groups, n), read, columnScales(lanes), roundColumns(operand, n, lanes));
      case BLOCK_128X128 ->
          run(n, blocks(groups, n), read, largest, blockScale(scaling.format()), round, encode);
      case TENSOR -> {
        for (int g = 0; g + 1 < groups.length; g++) {
          Block[] blocks = blocks(new int[] {groups[g], groups[g + 1]}, n);
          int[] ofBlocks = new int[blocks.length];
          run(
              n,
              blocks,
              read,
              largest,
              work -> ofBlocks[work.block.number] = work.rows.largestBits(work.height()));
          byte scale = scale(Arrays.stream(ofBlocks).max().orElse(0), scaling.format());
          Pass<Workspace> scales = work -> work.rows.set(scale);
          run(n, blocks, read, largest, scales, round, encode);
        }
      }
    }
  }

  /** Cuts the rows of every group into blocks. */
  private static Block[] blocks(int[] groups, int n) {
    int down = 0;
    for (int g = 0; g + 1 < groups.length; g++) {
      down += Pieces.count(groups[g + 1] - groups[g], TILE);
    }
    Block[] blocks = new Block[down * Pieces.count(n, TILE)];
    int made = 0;
    for (int g = 0; g + 1 < groups.length; g++) {
      for (int row = groups[g]; row < groups[g + 1]; row += TILE) {
        int end = Math.min(groups[g + 1], row + TILE);
        for (int column = 0; column < n; column += TILE) {
          blocks[made] = new Block(made, row, end, column, Math.min(TILE, n - column));
          made++;
        }
      }
    }
    return blocks;
  }

  /** Makes the passes that there are over every block of rows of n columns. */
  @SafeVarargs
  private void run(int n, Block[] blocks, Pass<Workspace>... passes) {
    if (blocks.length == 0) {
      return;
    }
    // Small blocks, such as those of one long row, go to a thread by the dozen, and all blocks of
    // the same rows to one.
    int across = Pieces.count(n, TILE);
    int elements = (blocks[0].end - blocks[0].row) * n;
    Pieces.forEach(
        parallel,
        blocks.length,
        across * Math.max(1, Pieces.GRAIN / elements),
        (from, to) -> {
          Workspace work = workspaces.get();
          for (int i = from; i < to; i++) {
            work.block = blocks[i];
            for (Pass<Workspace> pass : passes) {
              if (pass != null) {
                pass.run(work);
              }
            }
          }
        });
  }

  // ---- reading

  private static Pass<Workspace> copied(Tensor x, int n) {
    FloatBuffer floats = x.bytes().asFloatBuffer();
    return work -> {
      if (n == TILE) {
        floats.get(work.at(0, n), work.values, 0, work.height() * TILE);
        return;
      }
      for (int r = 0; r < work.height(); r++) {
        floats.get(work.at(r, n), work.values, r * TILE, work.block.count);
      }
    };
  }

  /**
   * Reads all columns of a block's rows from end to end before the first of these blocks, where
   * they fit into a core's own cache: memory delivers rows of 128 elements, each somewhere else, at
   * half its speed.
   */
  private static Pass<Workspace> ahead(Tensor x, int n, Pass<Workspace> read) {
    if (n <= TILE || !bandFits(TILE, n, x.type())) {
      return read;
    }
    return work -> {
      if (work.block.column == 0) {
        work.fetched = Lanes.fetch(x, work.at(0, n), work.height() * n);
      }
      read.run(work);
    };
  }

  /** Whether rows of n elements stay in a core's own cache while its blocks are worked on. */
  static boolean bandFits(int rows, int n, DType type) {
    return (long) rows * n * type.sizeBytes() <= BAND_BYTES;
  }

  private static Pass<Workspace> widened(Tensor x, int n) {
    ByteBuffer bytes = x.bytes();
    return work -> {
      for (int r = 0; r < work.height(); r++) {
        Lanes.widen(work.values, r * TILE, bytes, work.at(r, n), work.block.count);
      }
    };
  }

  private Pass<Workspace> decoded(Fp8Tensor x, int n) {
    VectorFp8Lanes lanes = formats.get(x.format());
    ByteBuffer codes = x.codes().bytes();
    ByteBuffer scales = x.scales().bytes();
    return work -> {
      for (int r = 0; r < work.height(); r++) {
        int at = work.at(r, n);
        byte scale = scales.get(x.scaleAt(at));
        lanes.decode(work.values, r * TILE, codes, at, work.block.count, scale);
      }
    };
  }

  // ---- scales

  private static byte scale(int largestBits, Fp8Format format) {
    return PowerOfTwoScale.of(Float.intBitsToFloat(largestBits), format);
  }

  private static void largest(Workspace work) {
    work.rows.read(work.values, work.height(), work.block.count);
  }

  private static Pass<Workspace> rowScales(Fp8Format format) {
    return work -> work.rows.set(work.height(), format);
  }

  private static Pass<Workspace> blockScale(Fp8Format format) {
    return work -> work.rows.set(scale(work.rows.largestBits(work.height()), format));
  }

  private static Pass<Workspace> columnScales(VectorFp8Lanes lanes) {
    return work ->
        work.columns.get(lanes.format()).find(work.values, work.height(), work.block.count);
  }

  // ---- writing

  private static Pass<Workspace> round(Tensor operand, int n, VectorFp8Lanes lanes) {
    boolean bfloat16 = operand.type() == DType.BF16;
    ByteBuffer bytes = operand.bytes();
    return work -> {
      for (int r = 0; r < work.height(); r++) {
        lanes.round(
            bfloat16,
            bytes,
            work.at(r, n),
            work.values,
            r * TILE,
            work.block.count,
            work.rows.scale(r),
            work.rows.finite(r));
      }
    };
  }

  private static Pass<Workspace> roundColumns(Tensor operand, int n, VectorFp8Lanes lanes) {
    boolean bfloat16 = operand.type() == DType.BF16;
    ByteBuffer bytes = operand.bytes();
    return work ->
        work.columns
            .get(lanes.format())
            .round(bfloat16, bytes, work.at(0, n), n, work.values, work.height(), work.block.count);
  }

  private static Pass<Workspace> encode(Fp8Tensor kept, int n, VectorFp8Lanes lanes) {
    ByteBuffer codes = kept.codes().bytes();
    ByteBuffer scales = kept.scales().bytes();
    return work -> {
      for (int r = 0; r < work.height(); r++) {
        int at = work.at(r, n);
        lanes.encode(
            codes,
            at,
            work.values,
            r * TILE,
            work.block.count,
            work.rows.scale(r),
            work.rows.finite(r));
        scales.put(kept.scaleAt(at), work.rows.scale(r));
      }
    };
  }

  private Pass<Workspace> decode(Tensor values, Fp8Tensor x, int n) {
    VectorFp8Lanes lanes = formats.get(x.format());
    boolean bfloat16 = values.type() == DType.BF16;
    ByteBuffer to = values.bytes();
    ByteBuffer codes = x.codes().bytes();
    ByteBuffer scales = x.scales().bytes();
    return work -> {
      for (int r = 0; r < work.height(); r++) {
        int at = work.at(r, n);
        byte scale = scales.get(x.scaleAt(at));
        lanes.decode(bfloat16, to, at, codes, at, work.block.count, scale);
      }
    };
  }
}
