package io.sparkmoe.kernel;

import io.sparkmoe.kernel.DecodeKernels.CachedRows;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.function.Supplier;

/** Argument checks of {@link DecodeKernels}, made once per call by both implementations. */
final class DecodeArguments {

  private DecodeArguments() {}

  static void pack(PanelMatrix panels, int matrix, Tensor w) {
    if (panels.scales() != null) {
      throw new IllegalArgumentException(
          "panels " + panels.values() + " take a quantised matrix, got " + w);
    }
    place(panels, matrix, w);
  }

  static void pack(PanelMatrix panels, int matrix, Fp8Tensor w) {
    KernelArguments.typed(panels.values(), w.codes().type());
    place(panels, matrix, w.codes());
  }

  private static void place(PanelMatrix panels, int matrix, Tensor w) {
    if (matrix < 0 || matrix >= panels.count()) {
      throw new IllegalArgumentException(
          "matrix must be in [0, " + panels.count() + "), got " + matrix);
    }
    KernelArguments.equal(() -> "rows of " + w, panels.outputs(), w.rows());
    KernelArguments.equal(() -> "columns of " + w, panels.inputs(), w.cols());
  }

  static void linear(Tensor y, Tensor x, PanelMatrix w) {
    KernelArguments.equal(() -> "matrices of a linear layer", 1, w.count());
    KernelArguments.equal(() -> "columns of input " + x, w.inputs(), x.cols());
    KernelArguments.equal(() -> "columns of output " + y, w.outputs(), y.cols());
    KernelArguments.equal(() -> "rows of " + y + " beside " + x, x.rows(), y.rows());
  }

  static void grouped(Tensor y, Tensor x, Tensor index, PanelMatrix w, int[] rowStarts) {
    KernelArguments.equal(() -> "columns of input " + x, w.inputs(), x.cols());
    KernelArguments.equal(() -> "columns of output " + y, w.outputs(), y.cols());
    if (index == null) {
      KernelArguments.equal(() -> "rows of " + y + " beside " + x, x.rows(), y.rows());
    } else {
      KernelArguments.typed(index, DType.I32);
      KernelArguments.equal(() -> "rows of " + y + " beside " + index, index.size(), y.rows());
    }
    KernelArguments.rowStarts(rowStarts, w.count(), y.rows());
  }

  static void perHead(Tensor y, Tensor x, PanelMatrix w) {
    KernelArguments.equal(() -> "heads of " + y, w.count(), y.dim(1));
    KernelArguments.equal(() -> "heads of " + x, w.count(), x.dim(1));
    KernelArguments.equal(() -> "rows of " + y + " beside " + x, x.rows(), y.rows());
    atLeast(() -> "channels of " + y, w.outputs(), y.cols());
    atLeast(() -> "channels of " + x, w.inputs(), x.cols());
  }

  static void rotateTail(Tensor y, Tensor x, Tensor cos, Tensor sin) {
    KernelArguments.sameSize(cos, sin);
    KernelArguments.equal(() -> "rows of " + y + " beside " + x, x.rows(), y.rows());
    KernelArguments.equal(() -> "angles " + cos + " of the rows of " + y, y.dim(0), cos.rows());
    atLeast(() -> "channels of " + y, 2 * cos.cols(), y.cols());
    atLeast(() -> "channels of " + x, 2 * cos.cols(), x.cols());
  }

  static void latentEntries(Tensor y, Tensor x, Tensor weight, Tensor cos, Tensor sin) {
    KernelArguments.sameSize(cos, sin);
    KernelArguments.sameSize(y, x);
    KernelArguments.equal(() -> "angles " + cos + " of the rows of " + x, x.rows(), cos.rows());
    KernelArguments.equal(
        () -> "columns of " + x + " beside norm " + weight,
        weight.size() + 2L * cos.cols(),
        x.cols());
  }

  static void latentAttention(Tensor context, Tensor query, CachedRows[] views) {
    KernelArguments.equal(
        () -> "rows of " + context + " beside " + query, query.rows(), context.rows());
    atLeast(() -> "channels of " + query, context.cols(), query.cols());
    int rows = 0;
    for (CachedRows view : views) {
      KernelArguments.equal(
          () -> "columns of cache " + view.entries(), query.cols(), view.entries().cols());
      atLeast(() -> "entries of cache " + view.entries(), view.length(), view.entries().rows());
      atLeast(() -> "cached entries of a sequence", view.rows(), view.length());
      rows += view.rows();
    }
    KernelArguments.equal(() -> "rows of " + query + " beside its caches", rows, query.dim(0));
  }

  static void row(Tensor x, int row) {
    if (row < 0 || row >= x.rows()) {
      throw new IllegalArgumentException("row of " + x + " must be in it, got " + row);
    }
  }

  static void argMax(Tensor x, int row, int count) {
    row(x, row);
    if (count < 1 || count > x.cols()) {
      throw new IllegalArgumentException(
          "elements to look at in a row of "
              + x
              + " must be in [1, "
              + x.cols()
              + "], got "
              + count);
    }
  }

  static void softmax(float[] y, Tensor x, int row, double temperature) {
    argMax(x, row, y.length);
    if (!(temperature > 0)) {
      throw new IllegalArgumentException("temperature must be > 0, got " + temperature);
    }
  }

  private static void atLeast(Supplier<String> what, int least, int actual) {
    if (actual < least) {
      throw new IllegalArgumentException(
          what.get() + " must be at least " + least + ", got " + actual);
    }
  }
}
