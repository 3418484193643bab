package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;

/**
 * Fast products with {@link PanelMatrix}. A tile is up to eight rows by a panel's two registers:
 * every weight is loaded once for all its rows, every sum is one chain of fused multiply-adds in
 * ascending order of inputs, whatever the number of rows. Weights narrower than a float are decoded
 * in registers for one or two rows, and once a panel for more ({@link VectorPackedPanels}). M rows,
 * O outputs, I inputs.
 */
final class VectorPanels {

  /** Rows of the largest tile: sixteen sums, two weights and an input fit the 32 registers. */
  private static final int TILE_ROWS = 8;

  /** Rows of a piece: a panel stays in the inner caches while they pass. */
  private static final int PIECE_ROWS = 128;

  /** Multiplications of a piece: some 2 us, ten times the cost of taking one. */
  private static final int PIECE_WORK = 1 << 13;

  private final Parallel parallel;
  private final ThreadLocal<Scratch> scratch = ThreadLocal.withInitial(Scratch::new);

  VectorPanels(Parallel parallel) {
    this.parallel = parallel;
  }

  void pack(PanelMatrix panels, int matrix, Tensor w) {
    int inputs = panels.inputs();
    Tensor to = panels.values();
    ByteBuffer from = w.bytes();
    forEachPanel(
        panels,
        (panel, first, end) -> {
          for (int o = first; o < end; o++) {
            for (int i = 0; i < inputs; i++) {
              to.set(panels.at(matrix, o, i), Lanes.get(from, o * inputs + i));
            }
          }
        });
  }

  void pack(PanelMatrix panels, int matrix, Fp8Tensor w) {
    int inputs = panels.inputs();
    int blocks = Fp8Tensor.scalesPerRow(inputs);
    ByteBuffer to = panels.values().bytes();
    ByteBuffer from = w.codes().bytes();
    forEachPanel(
        panels,
        (panel, first, end) -> {
          for (int o = first; o < end; o++) {
            for (int i = 0; i < inputs; i++) {
              to.put(panels.at(matrix, o, i), from.get(o * inputs + i));
            }
          }
          panels
              .scales()
              .bytes()
              .put(panels.scaleAt(matrix, panel, 0), w.scales().bytes(), first * blocks, blocks);
        });
  }

  /** Outputs [first, end) of a panel. */
  @FunctionalInterface
  private interface PanelBody {
    void run(int panel, int first, int end);
  }

  private void forEachPanel(PanelMatrix panels, PanelBody body) {
    forEach(
        panels.panels(),
        panel -> {
          int first = panel * PanelMatrix.WIDTH;
          body.run(panel, first, Math.min(first + PanelMatrix.WIDTH, panels.outputs()));
        });
  }

  void linear(Tensor y, Tensor x, PanelMatrix w, boolean accumulate) {
    int rows = y.rows();
    int grain = panelsOfPiece(w, Math.min(rows, PIECE_ROWS));
    int across = Pieces.count(w.panels(), grain);
    int down = Pieces.count(rows, PIECE_ROWS);
    Strided in = new Strided(x.bytes(), 0, w.inputs(), null);
    Strided out = new Strided(y.bytes(), 0, w.outputs(), null);
    forEach(
        across * down,
        piece -> {
          int firstRow = piece / across * PIECE_ROWS;
          int firstPanel = piece % across * grain;
          product(
              out,
              in,
              w,
              0,
              firstPanel,
              Math.min(w.panels(), firstPanel + grain),
              firstRow,
              Math.min(rows, firstRow + PIECE_ROWS),
              accumulate);
        });
  }

  void grouped(Tensor y, Tensor x, Tensor index, PanelMatrix w, int[] rowStarts) {
    int used = 0;
    int most = 0;
    int[] matrices = new int[Math.min(w.count(), y.rows())];
    for (int e = 0; e < w.count(); e++) {
      int rows = rowStarts[e + 1] - rowStarts[e];
      if (rows > 0) {
        matrices[used++] = e;
        most = Math.max(most, rows);
      }
    }
    if (used == 0) {
      return;
    }
    int grain = panelsOfPiece(w, y.rows() / used);
    int across = Pieces.count(w.panels(), grain);
    Strided in = new Strided(x.bytes(), 0, w.inputs(), index);
    Strided out = new Strided(y.bytes(), 0, w.outputs(), null);
    forEach(
        used * across,
        piece -> {
          int matrix = matrices[piece / across];
          int firstPanel = piece % across * grain;
          product(
              out,
              in,
              w,
              matrix,
              firstPanel,
              Math.min(w.panels(), firstPanel + grain),
              rowStarts[matrix],
              rowStarts[matrix + 1],
              false);
        });
  }

  void perHead(Tensor y, Tensor x, PanelMatrix w) {
    int heads = w.count();
    int rows = y.dim(0);
    int grain = Math.max(1, PIECE_WORK / (w.panels() * w.inputs() * PanelMatrix.WIDTH));
    int blocks = Pieces.count(rows, Math.max(grain, Math.min(rows, TILE_ROWS)));
    int blockRows = Pieces.count(rows, blocks);
    forEach(
        heads * blocks,
        piece -> {
          int head = piece / blocks;
          int first = piece % blocks * blockRows;
          Strided in = new Strided(x.bytes(), head * x.cols(), heads * x.cols(), null);
          Strided out = new Strided(y.bytes(), head * y.cols(), heads * y.cols(), null);
          product(out, in, w, head, 0, w.panels(), first, Math.min(rows, first + blockRows), false);
        });
  }

  private void forEach(int pieces, Parallel.Body body) {
    if (pieces == 1) {
      body.run(0);
    } else {
      parallel.forEach(pieces, body);
    }
  }

  private static int panelsOfPiece(PanelMatrix w, int rows) {
    return Math.max(1, PIECE_WORK / (w.inputs() * PanelMatrix.WIDTH * Math.max(1, rows)));
  }

  /**
   * Rows of a tensor.
   *
   * @param start element where row 0 starts
   * @param stride elements between rows
   * @param index I32, number of each row; null = its own
   */
  private record Strided(ByteBuffer memory, int start, int stride, Tensor index) {
    int at(int row) {
      return start + (index == null ? row : index.getInt(row)) * stride;
    }
  }

  /** Rows [firstRow, endRow) by the panels [firstPanel, endPanel) of one matrix. */
  private void product(
      Strided y,
      Strided x,
      PanelMatrix w,
      int matrix,
      int firstPanel,
      int endPanel,
      int firstRow,
      int endRow,
      boolean accumulate) {
    float[] sums = new float[TILE_ROWS * PanelMatrix.WIDTH];
    int[] starts = new int[TILE_ROWS];
    boolean packed = w.group() > 1;
    boolean unpacked = packed && endRow - firstRow > VectorPackedPanels.ROWS;
    ByteBuffer weights =
        unpacked ? scratch.get().floats(w.inputs() * PanelMatrix.WIDTH) : w.values().bytes();
    for (int panel = firstPanel; panel < endPanel; panel++) {
      int start = unpacked ? 0 : w.start(matrix, panel);
      if (unpacked) {
        VectorPackedPanels.unpack(weights, w, matrix, panel);
      }
      int column = panel * PanelMatrix.WIDTH;
      int width = Math.min(PanelMatrix.WIDTH, w.outputs() - column);
      for (int row = firstRow; row < endRow; ) {
        int rows = tileRows(endRow - row);
        for (int r = 0; r < rows; r++) {
          starts[r] = x.at(row + r);
        }
        for (int lane = 0; lane < PanelMatrix.WIDTH; lane += 2 * Lanes.LENGTH) {
          if (packed && !unpacked) {
            VectorPackedPanels.tile(sums, lane, rows, x.memory, starts, w, matrix, panel);
          } else {
            tile(sums, lane, rows, x.memory, starts, weights, start + lane, w.inputs());
          }
        }
        for (int r = 0; r < rows; r++) {
          emit(y.memory, y.at(row + r) + column, sums, r * PanelMatrix.WIDTH, width, accumulate);
        }
        row += rows;
      }
    }
  }

  private static int tileRows(int left) {
    return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
  }

  private static void emit(
      ByteBuffer y, int at, float[] sums, int start, int width, boolean accumulate) {
    int bound = Lanes.FLOATS.loopBound(width);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector sum = FloatVector.fromArray(Lanes.FLOATS, sums, start + i);
      Lanes.store(y, at + i, accumulate ? sum.add(Lanes.load(y, at + i)) : sum);
    }
    for (int i = bound; i < width; i++) {
      Lanes.set(y, at + i, accumulate ? sums[start + i] + Lanes.get(y, at + i) : sums[start + i]);
    }
  }

  private static void tile(
      float[] sums,
      int lane,
      int rows,
      ByteBuffer x,
      int[] starts,
      ByteBuffer w,
      int at,
      int inputs) {
    switch (rows) {
      case 8 -> eight(sums, lane, x, starts, w, at, inputs);
      case 4 -> four(sums, lane, x, starts, w, at, inputs);
      case 2 -> two(sums, lane, x, starts, w, at, inputs);
      default -> one(sums, lane, x, starts[0], w, at, inputs);
    }
  }

  private static void one(
      float[] sums, int lane, ByteBuffer x, int x0, ByteBuffer w, int at, int inputs) {
    FloatVector a0 = VectorMath.zero();
    FloatVector b0 = VectorMath.zero();
    for (int i = 0, p = at; i < inputs; i++, p += PanelMatrix.WIDTH) {
      FloatVector s0 = VectorMath.splat(Lanes.get(x, x0 + i));
      a0 = s0.fma(Lanes.load(w, p), a0);
      b0 = s0.fma(Lanes.load(w, p + Lanes.LENGTH), b0);
    }
    put(sums, lane, a0, b0);
  }

  private static void two(
      float[] sums, int lane, ByteBuffer x, int[] starts, ByteBuffer w, int at, int inputs) {
    int x0 = starts[0];
    int x1 = starts[1];
    FloatVector a0 = VectorMath.zero();
    FloatVector b0 = VectorMath.zero();
    FloatVector a1 = VectorMath.zero();
    FloatVector b1 = VectorMath.zero();
    for (int i = 0, p = at; i < inputs; i++, p += PanelMatrix.WIDTH) {
      FloatVector a = Lanes.load(w, p);
      FloatVector b = Lanes.load(w, p + Lanes.LENGTH);
      FloatVector s0 = VectorMath.splat(Lanes.get(x, x0 + i));
      FloatVector s1 = VectorMath.splat(Lanes.get(x, x1 + i));
      a0 = s0.fma(a, a0);
      b0 = s0.fma(b, b0);
      a1 = s1.fma(a, a1);
      b1 = s1.fma(b, b1);
    }
    put(sums, lane, a0, b0);
    put(sums, lane + PanelMatrix.WIDTH, a1, b1);
  }

  private static void four(
      float[] sums, int lane, ByteBuffer x, int[] starts, ByteBuffer w, int at, int inputs) {
    int x0 = starts[0];
    int x1 = starts[1];
    int x2 = starts[2];
    int x3 = starts[3];
    FloatVector a0 = VectorMath.zero();
    FloatVector b0 = VectorMath.zero();
    FloatVector a1 = VectorMath.zero();
    FloatVector b1 = VectorMath.zero();
    FloatVector a2 = VectorMath.zero();
    FloatVector b2 = VectorMath.zero();
    FloatVector a3 = VectorMath.zero();
    FloatVector b3 = VectorMath.zero();
    for (int i = 0, p = at; i < inputs; i++, p += PanelMatrix.WIDTH) {
      FloatVector a = Lanes.load(w, p);
      FloatVector b = Lanes.load(w, p + Lanes.LENGTH);
      FloatVector s0 = VectorMath.splat(Lanes.get(x, x0 + i));
      a0 = s0.fma(a, a0);
      b0 = s0.fma(b, b0);
      FloatVector s1 = VectorMath.splat(Lanes.get(x, x1 + i));
      a1 = s1.fma(a, a1);
      b1 = s1.fma(b, b1);
      FloatVector s2 = VectorMath.splat(Lanes.get(x, x2 + i));
      a2 = s2.fma(a, a2);
      b2 = s2.fma(b, b2);
      FloatVector s3 = VectorMath.splat(Lanes.get(x, x3 + i));
      a3 = s3.fma(a, a3);
      b3 = s3.fma(b, b3);
    }
    put(sums, lane, a0, b0);
    put(sums, lane + PanelMatrix.WIDTH, a1, b1);
    put(sums, lane + 2 * PanelMatrix.WIDTH, a2, b2);
    put(sums, lane + 3 * PanelMatrix.WIDTH, a3, b3);
  }

  private static void eight(
      float[] sums, int lane, ByteBuffer x, int[] starts, ByteBuffer w, int at, int inputs) {
    int x0 = starts[0];
    int x1 = starts[1];
    int x2 = starts[2];
    int x3 = starts[3];
    int x4 = starts[4];
    int x5 = starts[5];
    int x6 = starts[6];
    int x7 = starts[7];
    FloatVector a0 = VectorMath.zero();
    FloatVector b0 = VectorMath.zero();
    FloatVector a1 = VectorMath.zero();
    FloatVector b1 = VectorMath.zero();
    FloatVector a2 = VectorMath.zero();
    FloatVector b2 = VectorMath.zero();
    FloatVector a3 = VectorMath.zero();
    FloatVector b3 = VectorMath.zero();
    FloatVector a4 = VectorMath.zero();
    FloatVector b4 = VectorMath.zero();
    FloatVector a5 = VectorMath.zero();
    FloatVector b5 = VectorMath.zero();
    FloatVector a6 = VectorMath.zero();
    FloatVector b6 = VectorMath.zero();
    FloatVector a7 = VectorMath.zero();
    FloatVector b7 = VectorMath.zero();
    for (int i = 0, p = at; i < inputs; i++, p += PanelMatrix.WIDTH) {
      FloatVector a = Lanes.load(w, p);
      FloatVector b = Lanes.load(w, p + Lanes.LENGTH);
      FloatVector s0 = VectorMath.splat(Lanes.get(x, x0 + i));
      a0 = s0.fma(a, a0);
      b0 = s0.fma(b, b0);
      FloatVector s1 = VectorMath.splat(Lanes.get(x, x1 + i));
      a1 = s1.fma(a, a1);
      b1 = s1.fma(b, b1);
      FloatVector s2 = VectorMath.splat(Lanes.get(x, x2 + i));
      a2 = s2.fma(a, a2);
      b2 = s2.fma(b, b2);
      FloatVector s3 = VectorMath.splat(Lanes.get(x, x3 + i));
      a3 = s3.fma(a, a3);
      b3 = s3.fma(b, b3);
      FloatVector s4 = VectorMath.splat(Lanes.get(x, x4 + i));
      a4 = s4.fma(a, a4);
      b4 = s4.fma(b, b4);
      FloatVector s5 = VectorMath.splat(Lanes.get(x, x5 + i));
      a5 = s5.fma(a, a5);
      b5 = s5.fma(b, b5);
      FloatVector s6 = VectorMath.splat(Lanes.get(x, x6 + i));
      a6 = s6.fma(a, a6);
      b6 = s6.fma(b, b6);
      FloatVector s7 = VectorMath.splat(Lanes.get(x, x7 + i));
      a7 = s7.fma(a, a7);
      b7 = s7.fma(b, b7);
    }
    put(sums, lane, a0, b0);
    put(sums, lane + PanelMatrix.WIDTH, a1, b1);
    put(sums, lane + 2 * PanelMatrix.WIDTH, a2, b2);
    put(sums, lane + 3 * PanelMatrix.WIDTH, a3, b3);
    put(sums, lane + 4 * PanelMatrix.WIDTH, a4, b4);
    put(sums, lane + 5 * PanelMatrix.WIDTH, a5, b5);
    put(sums, lane + 6 * PanelMatrix.WIDTH, a6, b6);
    put(sums, lane + 7 * PanelMatrix.WIDTH, a7, b7);
  }

  private static void put(float[] sums, int at, FloatVector a, FloatVector b) {
    a.intoArray(sums, at);
    b.intoArray(sums, at + Lanes.LENGTH);
  }
}
