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
  private static final int PIECE_WORK = 1 << 15;

  /** Pieces that a product is cut into at most: more only cost. */
  private static final int MOST_PIECES = 64;

  /** Elements of packed inputs from which on packing is shared among the threads. */
  private static final int PACK_ALONE = 1 << 14;

  private final Parallel parallel;
  private final ThreadLocal<Scratch> scratch = ThreadLocal.withInitial(Scratch::new);
  private final ThreadLocal<float[]> inputTiles = ThreadLocal.withInitial(() -> new float[0]);

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
    int blockRows = Math.min(rows, PIECE_ROWS);
    int grain = panelsOfPiece(w, blockRows, w.panels());
    int across = Pieces.count(w.panels(), grain);
    int down = Pieces.count(rows, PIECE_ROWS);
    Strided in = new Strided(x.bytes(), 0, w.inputs(), null);
    Strided out = new Strided(y.bytes(), 0, w.outputs(), null);
    float[] tiles = tiles(rows, w.inputs());
    packInputs(
        down,
        rows * w.inputs(),
        block ->
            packRows(tiles, in, w.inputs(), block * PIECE_ROWS, rowsEnd(block, PIECE_ROWS, rows)));
    forEach(
        across * down,
        piece -> {
          int block = piece / across;
          int firstPanel = piece % across * grain;
          product(
              out,
              in,
              tiles,
              w,
              0,
              firstPanel,
              Math.min(w.panels(), firstPanel + grain),
              block * PIECE_ROWS,
              rowsEnd(block, PIECE_ROWS, rows),
              accumulate);
        });
  }

  void grouped(Tensor y, Tensor x, Tensor index, PanelMatrix w, int[] rowStarts) {
    int used = 0;
    int[] matrices = new int[Math.min(w.count(), y.rows())];
    for (int e = 0; e < w.count(); e++) {
      if (rowStarts[e + 1] > rowStarts[e]) {
        matrices[used++] = e;
      }
    }
    if (used == 0) {
      return;
    }
    int grain = panelsOfPiece(w, y.rows() / used, used * w.panels());
    int across = Pieces.count(w.panels(), grain);
    Strided in = new Strided(x.bytes(), 0, w.inputs(), index);
    Strided out = new Strided(y.bytes(), 0, w.outputs(), null);
    float[] tiles = tiles(y.rows(), w.inputs());
    packInputs(
        used,
        y.rows() * w.inputs(),
        i -> packRows(tiles, in, w.inputs(), rowStarts[matrices[i]], rowStarts[matrices[i] + 1]));
    forEach(
        used * across,
        piece -> {
          int matrix = matrices[piece / across];
          int firstPanel = piece % across * grain;
          product(
              out,
              in,
              tiles,
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
    int blockRows =
        Math.min(
            PIECE_ROWS,
            Math.max(TILE_ROWS, PIECE_WORK / (w.panels() * w.inputs() * PanelMatrix.WIDTH)));
    int blocks = Pieces.count(rows, blockRows);
    float[] tiles = tiles(heads * rows, w.inputs());
    forEach(
        heads * blocks,
        piece -> {
          int head = piece / blocks;
          int first = piece % blocks * blockRows;
          int end = Math.min(rows, first + blockRows);
          // Row m of head h is number h * rows + m of the packed ones.
          int shift = head * rows;
          Strided in =
              new Strided(x.bytes(), (head - shift * heads) * x.cols(), heads * x.cols(), null);
          Strided out =
              new Strided(y.bytes(), (head - shift * heads) * y.cols(), heads * y.cols(), null);
          packRows(tiles, in, w.inputs(), shift + first, shift + end);
          product(out, in, tiles, w, head, 0, w.panels(), shift + first, shift + end, false);
        });
  }

  private static int rowsEnd(int block, int blockRows, int rows) {
    return Math.min(rows, (block + 1) * blockRows);
  }

  /** The calling thread's memory for packed inputs; the pieces of its call read it. */
  private float[] tiles(int rows, int inputs) {
    int size = Math.multiplyExact(rows, inputs);
    float[] memory = inputTiles.get();
    if (memory.length < size) {
      memory = new float[size + size / 2];
      inputTiles.set(memory);
    }
    return memory;
  }

  private void packInputs(int pieces, int elements, Parallel.Body body) {
    if (elements < PACK_ALONE) {
      for (int piece = 0; piece < pieces; piece++) {
        body.run(piece);
      }
    } else {
      forEach(pieces, body);
    }
  }

  /**
   * Copies rows tile by tile, within a tile input by input, so that a product reads its inputs one
   * after the other: element (row first + r, i) of a tile of R rows at {@code first * inputs + i *
   * R + r}.
   */
  private static void packRows(float[] to, Strided x, int inputs, int first, int end) {
    for (int row = first; row < end; ) {
      int rows = tileRows(end - row);
      for (int r = 0; r < rows; r++) {
        int from = x.at(row + r);
        int at = row * inputs + r;
        if (rows == 1) {
          copy(to, at, x.memory, from, inputs);
        } else {
          for (int i = 0; i < inputs; i++) {
            to[at + i * rows] = Lanes.get(x.memory, from + i);
          }
        }
      }
      row += rows;
    }
  }

  private static void copy(float[] to, int at, ByteBuffer from, int start, int count) {
    int bound = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      Lanes.load(from, start + i).intoArray(to, at + i);
    }
    for (int i = bound; i < count; i++) {
      to[at + i] = Lanes.get(from, start + i);
    }
  }

  private void forEach(int pieces, Parallel.Body body) {
    if (pieces == 1) {
      body.run(0);
    } else {
      parallel.forEach(pieces, body);
    }
  }

  /**
   * Panels of a piece.
   *
   * @param rows of a piece
   * @param all panels of the whole product
   */
  private static int panelsOfPiece(PanelMatrix w, int rows, int all) {
    int work = PIECE_WORK / (w.inputs() * PanelMatrix.WIDTH * Math.max(1, rows));
    return Math.min(w.panels(), Math.max(Math.max(1, work), all / MOST_PIECES));
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
      float[] tiles,
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
        for (int r = 0; packed && r < rows; r++) {
          starts[r] = x.at(row + r);
        }
        for (int lane = 0; lane < PanelMatrix.WIDTH; lane += 2 * Lanes.LENGTH) {
          if (packed && !unpacked) {
            VectorPackedPanels.tile(sums, lane, rows, x.memory, starts, w, matrix, panel);
          } else {
            tile(sums, lane, rows, tiles, row * w.inputs(), weights, start + lane, w.inputs());
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

  /**
   * @param from element of x where the packed tile starts
   * @param at element of w where the panel's lane starts
   */
  private static void tile(
      float[] sums, int lane, int rows, float[] x, int from, ByteBuffer w, int at, int inputs) {
    switch (rows) {
      case 8 -> eight(sums, lane, x, from, w, at, inputs);
      case 4 -> four(sums, lane, x, from, w, at, inputs);
      case 2 -> two(sums, lane, x, from, w, at, inputs);
      default -> one(sums, lane, x, from, w, at, inputs);
    }
  }

  private static void one(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int inputs) {
    FloatVector a0 = VectorMath.zero();
    FloatVector b0 = VectorMath.zero();
    for (int i = 0, p = at, q = from; i < inputs; i++, p += PanelMatrix.WIDTH, q++) {
      FloatVector a = Lanes.load(w, p);
      FloatVector b = Lanes.load(w, p + Lanes.LENGTH);
      FloatVector s = VectorMath.splat(x[q]);
      a0 = s.fma(a, a0);
      b0 = s.fma(b, b0);
    }
    put(sums, lane, a0, b0);
  }

  private static void two(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int inputs) {
    FloatVector a0 = VectorMath.zero();
    FloatVector b0 = VectorMath.zero();
    FloatVector a1 = VectorMath.zero();
    FloatVector b1 = VectorMath.zero();
    for (int i = 0, p = at, q = from; i < inputs; i++, p += PanelMatrix.WIDTH, q += 2) {
      FloatVector a = Lanes.load(w, p);
      FloatVector b = Lanes.load(w, p + Lanes.LENGTH);
      FloatVector s = VectorMath.splat(x[q]);
      a0 = s.fma(a, a0);
      b0 = s.fma(b, b0);
      s = VectorMath.splat(x[q + 1]);
      a1 = s.fma(a, a1);
      b1 = s.fma(b, b1);
    }
    put(sums, lane, a0, b0);
    put(sums, lane + PanelMatrix.WIDTH, a1, b1);
  }

  private static void four(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int inputs) {
    FloatVector a0 = VectorMath.zero();
    FloatVector b0 = VectorMath.zero();
    FloatVector a1 = VectorMath.zero();
    FloatVector b1 = VectorMath.zero();
    FloatVector a2 = VectorMath.zero();
    FloatVector b2 = VectorMath.zero();
    FloatVector a3 = VectorMath.zero();
    FloatVector b3 = VectorMath.zero();
    for (int i = 0, p = at, q = from; i < inputs; i++, p += PanelMatrix.WIDTH, q += 4) {
      FloatVector a = Lanes.load(w, p);
      FloatVector b = Lanes.load(w, p + Lanes.LENGTH);
      FloatVector s = VectorMath.splat(x[q]);
      a0 = s.fma(a, a0);
      b0 = s.fma(b, b0);
      s = VectorMath.splat(x[q + 1]);
      a1 = s.fma(a, a1);
      b1 = s.fma(b, b1);
      s = VectorMath.splat(x[q + 2]);
      a2 = s.fma(a, a2);
      b2 = s.fma(b, b2);
      s = VectorMath.splat(x[q + 3]);
      a3 = s.fma(a, a3);
      b3 = s.fma(b, b3);
    }
    put(sums, lane, a0, b0);
    put(sums, lane + PanelMatrix.WIDTH, a1, b1);
    put(sums, lane + 2 * PanelMatrix.WIDTH, a2, b2);
    put(sums, lane + 3 * PanelMatrix.WIDTH, a3, b3);
  }

  private static void eight(
      float[] sums, int lane, float[] x, int from, ByteBuffer w, int at, int inputs) {
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
    for (int i = 0, p = at, q = from; i < inputs; i++, p += PanelMatrix.WIDTH, q += 8) {
      FloatVector a = Lanes.load(w, p);
      FloatVector b = Lanes.load(w, p + Lanes.LENGTH);
      FloatVector s = VectorMath.splat(x[q]);
      a0 = s.fma(a, a0);
      b0 = s.fma(b, b0);
      s = VectorMath.splat(x[q + 1]);
      a1 = s.fma(a, a1);
      b1 = s.fma(b, b1);
      s = VectorMath.splat(x[q + 2]);
      a2 = s.fma(a, a2);
      b2 = s.fma(b, b2);
      s = VectorMath.splat(x[q + 3]);
      a3 = s.fma(a, a3);
      b3 = s.fma(b, b3);
      s = VectorMath.splat(x[q + 4]);
      a4 = s.fma(a, a4);
      b4 = s.fma(b, b4);
      s = VectorMath.splat(x[q + 5]);
      a5 = s.fma(a, a5);
      b5 = s.fma(b, b5);
      s = VectorMath.splat(x[q + 6]);
      a6 = s.fma(a, a6);
      b6 = s.fma(b, b6);
      s = VectorMath.splat(x[q + 7]);
      a7 = s.fma(a, a7);
      b7 = s.fma(b, b7);
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
