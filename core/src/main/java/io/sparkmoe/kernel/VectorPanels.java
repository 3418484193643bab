package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.List;
import jdk.incubator.vector.FloatVector;

/**
 * Fast products with {@link PanelMatrix}: cuts them into pieces for threads, and pieces into tiles
 * of up to eight rows by two registers of a panel's outputs ({@link PanelTile}). A sum has the same
 * bits for any number of rows. M rows, O outputs, I inputs.
 */
final class VectorPanels {

  /** Panels that share their FP8 scales. */
  private static final int SCALE_PANELS = Fp8Granularity.SCALE_COLUMNS / PanelMatrix.WIDTH;

  /** Rows of a piece: a panel stays in the inner caches while they pass. */
  private static final int PIECE_ROWS = 128;

  /** Multiplications of a piece: some 2 us, ten times the cost of taking one. */
  private static final int PIECE_WORK = 1 << 15;

  /** Pieces that a product is cut into at most: more only cost. */
  private static final int MOST_PIECES = 64;

  /** Elements of packed inputs from which on packing is shared among the threads. */
  private static final int PACK_ALONE = 1 << 14;

  private final Parallel parallel;
  private final ThreadLocal<Workspace> workspaces = ThreadLocal.withInitial(Workspace::new);

  // No static fields: the compiler would know, and inline, what they hold.

  private final Format wide =
      new Format(
          List.of(
              VectorWideTiles::one,
              VectorWideTiles::two,
              VectorWideTiles::four,
              VectorWideTiles::eight),
          PanelTile.PANELS_SIDE_BY_SIDE,
          List.of(VectorWideTiles::onePanels, VectorWideTiles::twoPanels));

  private final Format bfloat16 =
      Format.ofSinglePanels(
          VectorBfloat16Tiles::one,
          VectorBfloat16Tiles::two,
          VectorBfloat16Tiles::four,
          VectorBfloat16Tiles::eight);

  private final Format fp8 =
      Format.ofSinglePanels(
          VectorFp8Tiles::one, VectorFp8Tiles::two, VectorFp8Tiles::four, VectorFp8Tiles::eight);

  /**
   * The tiles for weights of one type.
   *
   * @param tiles of one panel, for 1, 2, 4 and 8 rows
   * @param width panels P of the tiles of several
   * @param sideBySide tiles of P panels, for 1 and 2 rows, or none
   */
  private record Format(List<PanelTile> tiles, int width, List<PanelTile> sideBySide) {

    Format {
      tiles = separate(tiles);
      sideBySide = separate(sideBySide);
    }

    static Format ofSinglePanels(PanelTile... tiles) {
      return new Format(List.of(tiles), 1, List.of());
    }

    private static List<PanelTile> separate(List<PanelTile> tiles) {
      return tiles.stream().<PanelTile>map(SeparatePanelTile::new).toList();
    }

    /** Panels of the tile for {@code rows} rows where {@code left} panels are left. */
    int panels(int rows, int left) {
      return rows <= sideBySide.size() && left >= width ? width : 1;
    }

    PanelTile tile(int rows, int panels) {
      return panels == 1
          ? tiles.get(Integer.numberOfTrailingZeros(rows))
          : sideBySide.get(rows - 1);
    }
  }

  VectorPanels(Parallel parallel) {
    this.parallel = parallel;
  }

  /** A thread's memory. */
  private static final class Workspace {

    /** Packed inputs of a call by this thread; the pieces of the call read them. */
    float[] inputs = new float[0];

    /** A tile's packed rows times the scales of a panel. */
    float[] scaled = new float[0];

    /** A decoded panel: BF16. */
    ByteBuffer panel = ByteBuffer.allocateDirect(0);

    /** Of a tile. */
    final float[] sums = new float[PanelTile.MOST_ROWS * PanelMatrix.WIDTH];
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
    StridedRows in = new StridedRows(x.bytes(), 0, w.inputs(), null);
    StridedRows out = new StridedRows(y.bytes(), 0, w.outputs(), null);
    float[] inputs = inputs(rows, w);
    packInputs(
        down,
        rows * w.inputs(),
        block -> in.pack(inputs, w, block * PIECE_ROWS, Math.min(rows, (block + 1) * PIECE_ROWS)));
    Product product = new Product(out, inputs, w, accumulate);
    forEach(
        across * down,
        piece -> {
          int row = piece / across * PIECE_ROWS;
          int panel = piece % across * grain;
          product.run(0, panel, panel + grain, row, Math.min(rows, row + PIECE_ROWS));
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
    StridedRows in = new StridedRows(x.bytes(), 0, w.inputs(), index);
    StridedRows out = new StridedRows(y.bytes(), 0, w.outputs(), null);
    float[] inputs = inputs(y.rows(), w);
    packInputs(
        used,
        y.rows() * w.inputs(),
        i -> in.pack(inputs, w, rowStarts[matrices[i]], rowStarts[matrices[i] + 1]));
    Product product = new Product(out, inputs, w, false);
    forEach(
        used * across,
        piece -> {
          int matrix = matrices[piece / across];
          int panel = piece % across * grain;
          product.run(matrix, panel, panel + grain, rowStarts[matrix], rowStarts[matrix + 1]);
        });
  }

  void perHead(Tensor y, Tensor x, PanelMatrix w) {
    int heads = w.count();
    int rows = y.dim(0);
    int work = PIECE_WORK / (w.panels() * w.inputs() * PanelMatrix.WIDTH);
    int blockRows = Math.min(PIECE_ROWS, Math.max(PanelTile.MOST_ROWS, work));
    int blocks = Pieces.count(rows, blockRows);
    float[] inputs = inputs(heads * rows, w);
    forEach(
        heads * blocks,
        piece -> {
          int head = piece / blocks;
          // Row m of head h is number h * rows + m of the packed ones.
          int shift = head * rows;
          int first = shift + piece % blocks * blockRows;
          int end = Math.min(shift + rows, first + blockRows);
          StridedRows in = headRows(x, head, heads, shift);
          in.pack(inputs, w, first, end);
          new Product(headRows(y, head, heads, shift), inputs, w, false)
              .run(head, 0, w.panels(), first, end);
        });
  }

  /** Rows of one head of (M, H, X), of which row 0 has number {@code shift}. */
  private static StridedRows headRows(Tensor x, int head, int heads, int shift) {
    return new StridedRows(x.bytes(), (head - shift * heads) * x.cols(), heads * x.cols(), null);
  }

  /** The calling thread's memory for packed inputs. */
  private float[] inputs(int rows, PanelMatrix w) {
    Workspace own = workspaces.get();
    own.inputs = Scratch.grown(own.inputs, Math.multiplyExact(rows, w.depth()));
    return own.inputs;
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

  private void forEach(int pieces, Parallel.Body body) {
    if (pieces == 1) {
      body.run(0);
    } else {
      parallel.forEach(pieces, body);
    }
  }

  /**
   * Panels of a piece: whole tiles where few rows pass several panels side by side, unless threads
   * would then go without a piece.
   *
   * @param rows of a piece
   * @param all panels of the whole product
   */
  private int panelsOfPiece(PanelMatrix w, int rows, int all) {
    int work = PIECE_WORK / (w.inputs() * PanelMatrix.WIDTH * Math.max(1, rows));
    int least = Math.max(Math.max(1, work), all / MOST_PIECES);
    boolean sideBySide =
        rows <= PanelTile.ROWS_SIDE_BY_SIDE
            && all >= PanelTile.PANELS_SIDE_BY_SIDE * parallel.threads();
    boolean whole = least > 1 || sideBySide;
    return Math.min(
        w.panels(),
        whole
            ? Pieces.count(least, PanelTile.PANELS_SIDE_BY_SIDE) * PanelTile.PANELS_SIDE_BY_SIDE
            : least);
  }

  /** A product over packed inputs, as its pieces see it. */
  private final class Product {
    private final StridedRows y;
    private final float[] inputs;
    private final PanelMatrix w;
    private final Format format;
    private final boolean accumulate;

    Product(StridedRows y, float[] inputs, PanelMatrix w, boolean accumulate) {
      this.y = y;
      this.inputs = inputs;
      this.w = w;
      this.format = format(w.values().type());
      this.accumulate = accumulate;
    }

    /** Rows [firstRow, endRow) by those of the panels [firstPanel, endPanel) that there are. */
    void run(int matrix, int firstPanel, int endPanel, int firstRow, int endRow) {
      Workspace own = workspaces.get();
      int end = Math.min(endPanel, w.panels());
      if (w.scales() != null && endRow - firstRow > PanelTile.MOST_ROWS) {
        for (int panel = firstPanel; panel < end; panel++) {
          decoded(own, matrix, panel, firstRow, endRow);
        }
        return;
      }
      for (int row = firstRow; row < endRow; ) {
        int rows = PanelTile.rows(endRow - row);
        held(own, matrix, firstPanel, end, row, rows);
        row += rows;
      }
    }

    /** The rows of a tile by panels as they lie in memory. */
    private void held(Workspace own, int matrix, int firstPanel, int endPanel, int row, int rows) {
      ByteBuffer weights = w.values().bytes();
      int stride = w.depth() / w.group() * PanelMatrix.WIDTH;
      for (int panel = firstPanel; panel < endPanel; ) {
        int count = format.panels(rows, endPanel - panel);
        PanelTile tile = format.tile(rows, count);
        int start = w.start(matrix, panel) / w.group();
        if (w.scales() == null) {
          sum(own.sums, tile, inputs, row * w.depth(), weights, start, stride);
          emit(own.sums, count, 1, panel, row, rows);
        } else {
          if (panel == firstPanel || panel % SCALE_PANELS == 0) {
            scale(own, matrix, panel, row, rows);
          }
          sum(own.sums, tile, own.scaled, 0, weights, start, stride);
          emit(own.sums, count, VectorFp8Tiles.FACTOR, panel, row, rows);
        }
        panel += count;
      }
    }

    /**
     * All sums of a tile.
     *
     * @param from element of {@code x} where the tile's rows start
     * @param start group of {@code weights} where the first panel starts
     * @param stride groups of a panel
     */
    private void sum(
        float[] sums,
        PanelTile tile,
        float[] x,
        int from,
        ByteBuffer weights,
        int start,
        int stride) {
      for (int lane = 0; lane < PanelMatrix.WIDTH; lane += 2 * Lanes.LENGTH) {
        tile.sum(sums, lane, x, from, weights, start + lane, stride, w.depth());
      }
    }

    /** The packed rows of a tile times the scales of a panel. */
    private void scale(Workspace own, int matrix, int panel, int row, int rows) {
      own.scaled = Scratch.grown(own.scaled, rows * w.depth());
      for (int block = 0; block < Fp8Tensor.scalesPerRow(w.inputs()); block++) {
        int first = block * PanelMatrix.SCALE_INPUTS;
        int count = Math.min(PanelMatrix.SCALE_INPUTS, w.depth() - first);
        float factor = w.scale(matrix, panel, block) * VectorFp8Tiles.FACTOR;
        int from = row * w.depth() + rows * first;
        multiply(own.scaled, rows * first, inputs, from, rows * count, factor);
      }
    }

    /** More rows than the largest tile has by one panel of FP8 weights, decoded once for all. */
    private void decoded(Workspace own, int matrix, int panel, int firstRow, int endRow) {
      decode(own, matrix, panel);
      for (int row = firstRow; row < endRow; ) {
        int rows = PanelTile.rows(endRow - row);
        sum(own.sums, bfloat16.tile(rows, 1), inputs, row * w.depth(), own.panel, 0, 0);
        emit(own.sums, 1, 1, panel, row, rows);
        row += rows;
      }
    }

    private void decode(Workspace own, int matrix, int panel) {
      int bytes = w.depth() * PanelMatrix.WIDTH * Short.BYTES;
      if (own.panel.capacity() < bytes) {
        own.panel = ByteBuffer.allocateDirect(bytes);
      }
      ByteBuffer weights = w.values().bytes();
      int start = w.start(matrix, panel) / w.group();
      for (int block = 0; block < Fp8Tensor.scalesPerRow(w.inputs()); block++) {
        int first = block * PanelMatrix.SCALE_INPUTS;
        int count = Math.min(PanelMatrix.SCALE_INPUTS, w.depth() - first);
        VectorFp8Tiles.toBfloat16(
            own.panel,
            first * PanelMatrix.WIDTH / 2,
            weights,
            start + first / w.group() * PanelMatrix.WIDTH,
            count,
            w.scale(matrix, panel, block));
      }
    }

    /**
     * Writes the outputs of the {@code panels} panels from {@code panel} on.
     *
     * @param sums row r's of panel p at (p * rows + r) * WIDTH
     * @param factor of the sums
     */
    private void emit(float[] sums, int panels, float factor, int panel, int firstRow, int rows) {
      for (int p = 0; p < panels; p++) {
        for (int r = 0; r < rows; r++) {
          emit(sums, (p * rows + r) * PanelMatrix.WIDTH, factor, panel + p, firstRow + r);
        }
      }
    }

    private void emit(float[] sums, int from, float factor, int panel, int row) {
      int column = panel * PanelMatrix.WIDTH;
      int width = Math.min(PanelMatrix.WIDTH, w.outputs() - column);
      int bound = Lanes.FLOATS.loopBound(width);
      int at = y.at(row) + column;
      ByteBuffer to = y.memory();
      for (int i = 0; i < bound; i += Lanes.LENGTH) {
        FloatVector sum = FloatVector.fromArray(Lanes.FLOATS, sums, from + i).mul(factor);
        Lanes.store(to, at + i, accumulate ? sum.add(Lanes.load(to, at + i)) : sum);
      }
      for (int i = bound; i < width; i++) {
        float sum = sums[from + i] * factor;
        Lanes.set(to, at + i, accumulate ? sum + Lanes.get(to, at + i) : sum);
      }
    }
  }

  /** {@code y = x * factor}. */
  private static void multiply(float[] y, int yAt, float[] x, int xAt, int count, float factor) {
    int bound = Lanes.FLOATS.loopBound(count);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector.fromArray(Lanes.FLOATS, x, xAt + i).mul(factor).intoArray(y, yAt + i);
    }
    for (int i = bound; i < count; i++) {
      y[yAt + i] = x[xAt + i] * factor;
    }
  }

  private Format format(DType type) {
    return switch (type) {
      case BF16 -> bfloat16;
      case F8_E4M3 -> fp8;
      default -> wide;
    };
  }
}
