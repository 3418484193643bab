package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Fp8Format;
import io.sparkmoe.tensor.PowerOfTwoScale;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.Map;

/**
 * Fast rounding to FP8 and back, in blocks of at most 128 rows and 128 columns. A block is read row
 * by row, whatever its tiles are, so that nothing strides through memory; values that are not F32
 * are first written as such to a block of the thread's own, which stays in the inner caches.
 *
 * <p>Legend: R rows, N columns.
 */
final class VectorFp8 {

  private static final int TILE = Fp8Granularity.SCALE_COLUMNS;

  private final Parallel parallel;
  private final Map<Fp8Format, VectorFp8Lanes> formats = new EnumMap<>(Fp8Format.class);
  private final ThreadLocal<Workspace> workspaces = ThreadLocal.withInitial(Workspace::new);

  VectorFp8(Parallel parallel) {
    this.parallel = parallel;
    for (Fp8Format format : Fp8Format.values()) {
      formats.put(format, new VectorFp8Lanes(format));
    }
  }

  /** A thread's block, and what belongs to its columns. */
  private static final class Workspace {
    final ByteBuffer values = new Scratch().floats(TILE * TILE);
    final ByteBuffer largest = new Scratch().floats(TILE);
    final ByteBuffer inverses = new Scratch().floats(TILE);
    final ByteBuffer factors = new Scratch().floats(TILE);
  }

  /** Rows [row, end) and the columns [column, column + count) of one column of scales. */
  private record Block(int row, int end, int column, int count) {}

  @FunctionalInterface
  private interface BlockTask {
    void run(Block block, Workspace own);
  }

  /** A block's values in F32: element (r, c) of the block at {@code index + r * stride + c}. */
  private record View(ByteBuffer values, int index, int stride) {}

  /** What is rounded: F32, BF16, or codes with scales. */
  private record Source(Tensor x, Fp8Tensor encoded, VectorFp8Lanes decoder) {

    View view(Block block, Workspace own) {
      int n = x.cols();
      ByteBuffer bytes = x.bytes();
      if (x.type() == DType.F32) {
        return new View(bytes, block.row * n + block.column, n);
      }
      for (int row = block.row; row < block.end; row++) {
        int to = (row - block.row) * TILE;
        int at = row * n + block.column;
        if (encoded == null) {
          VectorBfloat16.widen(own.values, to, bytes, at, block.count);
        } else {
          byte scale = encoded.scales().bytes().get(encoded.scaleAt(at));
          decoder.decode(own.values, to, bytes, at, block.count, scale);
        }
      }
      return new View(own.values, 0, TILE);
    }
  }

  /** Where rounded values go; either part may be missing. */
  private record Target(VectorFp8Lanes lanes, ByteBuffer operand, Fp8Tensor kept, int n) {

    byte scale(int largestBits) {
      return PowerOfTwoScale.of(Float.intBitsToFloat(largestBits), lanes.format());
    }

    /** Rounds rows [row, end) of a block with one scale. */
    void write(Block block, int row, int end, View x, byte scale) {
      for (int r = row; r < end; r++) {
        int at = r * n + block.column;
        int index = x.index + (r - block.row) * x.stride;
        if (operand != null) {
          lanes.round(operand, at, x.values, index, block.count, scale);
        }
        if (kept != null) {
          lanes.encode(kept.codes().bytes(), at, x.values, index, block.count, scale);
          kept.scales().bytes().put(kept.scaleAt(at), scale);
        }
      }
    }
  }

  void quantize(Tensor operand, Fp8Tensor kept, Tensor x, int[] rowStarts, Fp8Scaling scaling) {
    int[] groups = KernelArguments.groups(x, rowStarts);
    quantize(operand, kept, new Source(x, null, null), groups, scaling);
  }

  void requantize(Tensor operand, Fp8Tensor x, int[] rowStarts, Fp8Scaling scaling) {
    int[] groups = KernelArguments.groups(x.codes(), rowStarts);
    quantize(operand, null, new Source(x.codes(), x, formats.get(x.format())), groups, scaling);
  }

  void dequantize(Tensor values, Fp8Tensor x) {
    VectorFp8Lanes lanes = formats.get(x.format());
    int n = x.codes().cols();
    ByteBuffer codes = x.codes().bytes();
    ByteBuffer scales = x.scales().bytes();
    boolean wide = values.type() == DType.F32;
    Pieces.forEach(
        parallel,
        x.codes().rows(),
        Pieces.rowGrain(n),
        (from, to) -> {
          int scaleAt = from * Fp8Tensor.scalesPerRow(n);
          for (int row = from; row < to; row++) {
            for (int column = 0; column < n; column += TILE) {
              int at = row * n + column;
              int count = Math.min(TILE, n - column);
              byte scale = scales.get(scaleAt++);
              if (wide) {
                lanes.decode(values.bytes(), at, codes, at, count, scale);
              } else {
                lanes.decodeToBfloat16(values.bytes(), at, codes, at, count, scale);
              }
            }
          }
        });
  }

  private void quantize(
      Tensor operand, Fp8Tensor kept, Source x, int[] groups, Fp8Scaling scaling) {
    VectorFp8Lanes lanes = formats.get(scaling.format());
    int n = x.x.cols();
    Target target = new Target(lanes, operand == null ? null : operand.bytes(), kept, n);
    switch (scaling.granularity()) {
      case TILE_1X128 -> {
        int[] all = {groups[0], groups[groups.length - 1]};
        forEachBlock(all, n, (block, own) -> rowTiles(target, block, x.view(block, own)));
      }
      case TILE_128X1 ->
          forEachBlock(
              groups, n, (block, own) -> columnTiles(target, block, x.view(block, own), own));
      case BLOCK_128X128 ->
          forEachBlock(
              groups,
              n,
              (block, own) -> {
                View view = x.view(block, own);
                byte scale = target.scale(largestBits(block, view));
                target.write(block, block.row, block.end, view, scale);
              });
      case TENSOR -> {
        for (int g = 0; g + 1 < groups.length; g++) {
          whole(target, x, new int[] {groups[g], groups[g + 1]});
        }
      }
    }
  }

  /** Runs blocks, none of which has rows of two groups. */
  private void forEachBlock(int[] groups, int n, BlockTask task) {
    Block[] blocks = blocks(groups, n);
    parallel.forEach(blocks.length, i -> task.run(blocks[i], workspaces.get()));
  }

  private static Block[] blocks(int[] groups, int n) {
    int across = Pieces.count(n, TILE);
    int down = 0;
    for (int g = 0; g + 1 < groups.length; g++) {
      down += Pieces.count(groups[g + 1] - groups[g], TILE);
    }
    Block[] blocks = new Block[down * across];
    int made = 0;
    for (int g = 0; g + 1 < groups.length; g++) {
      for (int row = groups[g]; row < groups[g + 1]; row += TILE) {
        int end = Math.min(groups[g + 1], row + TILE);
        for (int column = 0; column < n; column += TILE) {
          blocks[made++] = new Block(row, end, column, Math.min(TILE, n - column));
        }
      }
    }
    return blocks;
  }

  private static void rowTiles(Target target, Block block, View x) {
    for (int row = block.row; row < block.end; row++) {
      int index = x.index + (row - block.row) * x.stride;
      byte scale = target.scale(VectorFp8Lanes.largestBits(x.values, index, block.count));
      target.write(block, row, row + 1, x, scale);
    }
  }

  private static void columnTiles(Target target, Block block, View x, Workspace own) {
    Lanes.clear(own.largest, 0, block.count);
    for (int row = block.row; row < block.end; row++) {
      int index = x.index + (row - block.row) * x.stride;
      VectorFp8Lanes.largestBitsOfColumns(own.largest, x.values, index, block.count);
    }
    boolean fit = true;
    for (int i = 0; i < block.count; i++) {
      byte scale = target.scale(own.largest.getInt(i * Integer.BYTES));
      Lanes.set(own.inverses, i, PowerOfTwoScale.reciprocal(scale));
      Lanes.set(own.factors, i, PowerOfTwoScale.value(scale));
      fit &= target.lanes.fitsBfloat16(scale);
    }
    for (int row = block.row; row < block.end; row++) {
      target.lanes.roundColumns(
          target.operand,
          row * target.n + block.column,
          x.values,
          x.index + (row - block.row) * x.stride,
          block.count,
          own.inverses,
          own.factors,
          fit);
    }
  }

  private void whole(Target target, Source x, int[] rows) {
    Block[] blocks = blocks(rows, target.n);
    int[] largest = new int[blocks.length];
    parallel.forEach(
        blocks.length,
        i -> largest[i] = largestBits(blocks[i], x.view(blocks[i], workspaces.get())));
    byte scale = target.scale(Arrays.stream(largest).max().orElse(0));
    parallel.forEach(
        blocks.length,
        i -> {
          View view = x.view(blocks[i], workspaces.get());
          target.write(blocks[i], blocks[i].row, blocks[i].end, view, scale);
        });
  }

  private static int largestBits(Block block, View x) {
    int largest = 0;
    for (int row = 0; row < block.end - block.row; row++) {
      int index = x.index + row * x.stride;
      largest = Math.max(largest, VectorFp8Lanes.largestBits(x.values, index, block.count));
    }
    return largest;
  }
}
