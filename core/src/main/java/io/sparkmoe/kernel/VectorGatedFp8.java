package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.List;

/**
 * SwiGLU of weighted rows fused with the rounding of all that goes in and comes out, in blocks of
 * 128 rows and 128 columns that stay in the inner caches: what was products of the gate and up
 * projections in main memory leaves as operands and codes, without a pass in between.
 *
 * <p>R rows, F width.
 */
final class VectorGatedFp8 {

  private static final int TILE = Fp8Granularity.SCALE_COLUMNS;

  private final Parallel parallel;
  private final VectorFp8Lanes codes = new VectorFp8Lanes(Fp8Format.E4M3);
  private final ThreadLocal<Workspace> workspaces =
      ThreadLocal.withInitial(() -> new Workspace(codes));

  VectorGatedFp8(Parallel parallel) {
    this.parallel = parallel;
  }

  /** A thread's block and the room for what is computed of it; row r starts at r * TILE. */
  private static final class Workspace {
    int row;
    int height;
    int column;
    int count;

    /** What was read ahead; kept so that the reading is not optimised away. */
    int fetched;

    final float[] gate = new float[TILE * TILE];
    final float[] up = new float[TILE * TILE];
    final float[] hidden = new float[TILE * TILE];
    final float[] dHidden = new float[TILE * TILE];
    final float[] weightGradients = new float[TILE];
    final RowScales rows = new RowScales();
    final ColumnScales columns;

    Workspace(VectorFp8Lanes lanes) {
      columns = new ColumnScales(lanes);
    }
  }

  /** See {@link Kernels#gatedFp8}. */
  void forward(Tensor hidden, Fp8Tensor kept, Tensor gateUp, Tensor weight) {
    int[] groups = {0, hidden.rows()};
    int f = hidden.cols();
    List<Pass<Workspace>> passes =
        List.of(
            ahead(gateUp, 2 * f),
            read(work -> work.gate, gateUp, 0),
            read(work -> work.up, gateUp, f),
            rowScales(work -> work.gate),
            keep(kept, 0, work -> work.gate, f),
            rowScales(work -> work.up),
            keep(kept, 1, work -> work.up, f),
            activate(weight),
            rowScales(work -> work.hidden),
            roundRows(hidden, 0, work -> work.hidden));
    run(groups, f, bandRows(gateUp), passes, null);
  }

  /** See {@link Kernels#gatedFp8Backward}. */
  void backward(
      Tensor dGateUp,
      Tensor dGateUpTransposed,
      Tensor hiddenTransposed,
      Tensor dWeight,
      Tensor dHidden,
      Fp8Tensor kept,
      Tensor weight,
      int[] groups) {
    int f = dHidden.cols();
    List<Pass<Workspace>> passes =
        List.of(
            ahead(kept.codes(), 2 * f),
            ahead(dHidden, f),
            restore(kept, 0, work -> work.gate, f),
            restore(kept, 1, work -> work.up, f),
            read(work -> work.dHidden, dHidden, 0),
            VectorGatedFp8::sigmoids,
            differentiate(weight),
            rowScales(work -> work.gate),
            roundRows(dGateUp, 0, work -> work.gate),
            rowScales(work -> work.up),
            roundRows(dGateUp, f, work -> work.up),
            columnScales(work -> work.gate),
            roundColumns(dGateUpTransposed, 0, work -> work.gate),
            columnScales(work -> work.up),
            roundColumns(dGateUpTransposed, f, work -> work.up),
            columnScales(work -> work.hidden),
            roundColumns(hiddenTransposed, 0, work -> work.hidden));
    run(groups, f, TILE, passes, dWeight);
  }

  /** Rows of a block without scales of columns: as many as stay in a core's own cache. */
  private static int bandRows(Tensor x) {
    int rows = TILE;
    while (rows > 1 && !VectorFp8.bandFits(rows, x.cols(), x.type())) {
      rows /= 2;
    }
    return rows;
  }

  private void run(
      int[] groups, int f, int blockRows, List<Pass<Workspace>> passes, Tensor dWeight) {
    int numGroups = groups.length - 1;
    int[] starts = new int[numGroups + 1];
    for (int g = 0; g < numGroups; g++) {
      starts[g + 1] = starts[g] + Pieces.count(groups[g + 1] - groups[g], blockRows);
    }
    int[] rows = new int[starts[numGroups]];
    int[] ends = new int[rows.length];
    for (int g = 0; g < numGroups; g++) {
      for (int block = starts[g]; block < starts[g + 1]; block++) {
        rows[block] = groups[g] + (block - starts[g]) * blockRows;
        ends[block] = Math.min(groups[g + 1], rows[block] + blockRows);
      }
    }
    parallel.forEach(
        rows.length,
        block -> {
          Workspace work = workspaces.get();
          work.row = rows[block];
          work.height = ends[block] - rows[block];
          Arrays.fill(work.weightGradients, 0);
          for (int column = 0; column < f; column += TILE) {
            work.column = column;
            work.count = Math.min(TILE, f - column);
            for (Pass<Workspace> pass : passes) {
              pass.run(work);
            }
          }
          for (int r = 0; dWeight != null && r < work.height; r++) {
            dWeight.setFloat(work.row + r, work.weightGradients[r]);
          }
        });
  }

  // ---- passes; half 0 is the gate, half 1 is up

  /**
   * Reads whole rows before their first block, as {@link VectorFp8} does.
   *
   * @param n elements of x that a row of the product has
   */
  private static Pass<Workspace> ahead(Tensor x, int n) {
    return work -> {
      if (work.column == 0 && VectorFp8.bandFits(work.height, n, x.type())) {
        work.fetched = Lanes.fetch(x, work.row * n, work.height * n);
      }
    };
  }

  private static Pass<Workspace> read(Room room, Tensor from, int offset) {
    FloatBuffer floats = from.bytes().asFloatBuffer();
    int n = from.cols();
    return work -> {
      float[] to = room.of(work);
      for (int r = 0; r < work.height; r++) {
        int at = (work.row + r) * n + offset + work.column;
        floats.get(at, to, r * TILE, work.count);
      }
    };
  }

  private Pass<Workspace> rowScales(Room room) {
    return work -> {
      work.rows.read(room.of(work), work.height, work.count);
      work.rows.set(work.height, codes.format());
    };
  }

  private Pass<Workspace> keep(Fp8Tensor kept, int half, Room room, int f) {
    ByteBuffer to = kept.codes().bytes();
    ByteBuffer scales = kept.scales().bytes();
    return work -> {
      float[] values = room.of(work);
      for (int r = 0; r < work.height; r++) {
        // (R, 2F) of products is (2R, F) of codes.
        int at = (2 * (work.row + r) + half) * f + work.column;
        byte scale = work.rows.scale(r);
        codes.encode(to, at, values, r * TILE, work.count, scale, work.rows.finite(r));
        scales.put(kept.scaleAt(at), scale);
      }
    };
  }

  private Pass<Workspace> restore(Fp8Tensor kept, int half, Room room, int f) {
    ByteBuffer from = kept.codes().bytes();
    ByteBuffer scales = kept.scales().bytes();
    return work -> {
      float[] to = room.of(work);
      for (int r = 0; r < work.height; r++) {
        int at = (2 * (work.row + r) + half) * f + work.column;
        codes.decode(to, r * TILE, from, at, work.count, scales.get(kept.scaleAt(at)));
      }
    };
  }

  private static Pass<Workspace> activate(Tensor weight) {
    return work -> {
      for (int r = 0; r < work.height; r++) {
        float w = weight == null ? 1 : weight.getFloat(work.row + r);
        VectorSwiGlu.row(work.hidden, work.gate, work.up, r * TILE, w, work.count);
      }
    };
  }

  /** Hidden becomes sigmoid(gate). */
  private static void sigmoids(Workspace work) {
    for (int r = 0; r < work.height; r++) {
      VectorSwiGlu.sigmoidRow(work.hidden, r * TILE, work.gate, r * TILE, work.count);
    }
  }

  /** Gate and up become their gradients, and hidden what the forward made of them. */
  private static Pass<Workspace> differentiate(Tensor weight) {
    return work -> {
      for (int r = 0; r < work.height; r++) {
        int at = r * TILE;
        float w = weight == null ? 1 : weight.getFloat(work.row + r);
        work.weightGradients[r] +=
            VectorSwiGlu.backwardRow(
                work.gate, at, work.up, at, work.hidden, at, work.dHidden, at, w, work.count);
      }
    };
  }

  /** One of the workspace's arrays. */
  @FunctionalInterface
  private interface Room {
    float[] of(Workspace work);
  }

  private Pass<Workspace> roundRows(Tensor operand, int offset, Room room) {
    boolean bfloat16 = operand.type() == DType.BF16;
    ByteBuffer to = operand.bytes();
    int n = operand.cols();
    return work -> {
      float[] values = room.of(work);
      for (int r = 0; r < work.height; r++) {
        int at = (work.row + r) * n + offset + work.column;
        codes.round(
            bfloat16,
            to,
            at,
            values,
            r * TILE,
            work.count,
            work.rows.scale(r),
            work.rows.finite(r));
      }
    };
  }

  private static Pass<Workspace> columnScales(Room room) {
    return work -> work.columns.find(room.of(work), work.height, work.count);
  }

  private static Pass<Workspace> roundColumns(Tensor operand, int offset, Room room) {
    boolean bfloat16 = operand.type() == DType.BF16;
    ByteBuffer to = operand.bytes();
    int n = operand.cols();
    return work ->
        work.columns.round(
            bfloat16,
            to,
            work.row * n + offset + work.column,
            n,
            room.of(work),
            work.height,
            work.count);
  }
}
