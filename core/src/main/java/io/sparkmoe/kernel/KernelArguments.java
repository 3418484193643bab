package io.sparkmoe.kernel;

import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.function.Supplier;

/**
 * Argument checks that both implementations of {@link Kernels} make once per call, before any loop.
 */
final class KernelArguments {

  private KernelArguments() {}

  static void typed(Tensor x, DType type) {
    if (x.type() != type) {
      throw new IllegalArgumentException("tensor " + x + " must be of type " + type);
    }
  }

  /** Refuses tensors that the fast kernels cannot compute on. */
  static void allF32(Tensor... tensors) {
    for (Tensor tensor : tensors) {
      if (tensor != null && tensor.type() != DType.F32) {
        throw new IllegalArgumentException(
            "VectorKernels compute on F32 tensors, got "
                + tensor
                + "; use ReferenceKernels for other types");
      }
    }
  }

  /** Refuses products that the fast kernels cannot compute: BF16 inputs must come in pairs. */
  static void product(Tensor c, Tensor a, Tensor b) {
    boolean inputs = a.type() == b.type() && (a.type() == DType.F32 || a.type() == DType.BF16);
    if (c.type() != DType.F32 || !inputs) {
      throw new IllegalArgumentException(
          "VectorKernels multiply two F32 or two BF16 tensors into an F32 one, got "
              + a
              + " and "
              + b
              + " into "
              + c
              + "; use ReferenceKernels for other types");
    }
  }

  static void gatedFp8(Tensor hidden, Fp8Tensor kept, Tensor gateUp, Tensor weight) {
    swiGlu(hidden, gateUp, weight);
    operandTyped(hidden);
    keptGateUp(kept, hidden);
  }

  static void gatedFp8Backward(
      Tensor dGateUp,
      Tensor dGateUpTransposed,
      Tensor hiddenTransposed,
      Tensor dWeight,
      Tensor dHidden,
      Fp8Tensor kept,
      Tensor weight,
      int[] rowStarts) {
    swiGluBackward(dGateUp, dWeight, hiddenTransposed, dHidden, dGateUp, weight);
    sameSize(dGateUpTransposed, dGateUp);
    operandTyped(dGateUp);
    operandTyped(dGateUpTransposed);
    operandTyped(hiddenTransposed);
    keptGateUp(kept, dHidden);
    requireGroups(dHidden, rowStarts);
    equal(
        () -> "rows in groups beside " + dHidden, dHidden.rows(), rowStarts[rowStarts.length - 1]);
  }

  private static void keptGateUp(Fp8Tensor kept, Tensor hidden) {
    typed(kept.codes(), DType.F8_E4M3);
    equal(() -> "columns of kept " + kept.codes(), hidden.cols(), kept.codes().cols());
    equal(() -> "rows of kept " + kept.codes(), 2L * hidden.rows(), kept.codes().rows());
  }

  static void sameSize(Tensor a, Tensor b) {
    equal(() -> "elements of " + b + " beside " + a, a.size(), b.size());
  }

  static void matmul(Tensor c, Tensor a, boolean transposeA, Tensor b, boolean transposeB) {
    int k = transposeA ? a.rows() : a.cols();
    equal(
        () -> "rows of " + c + " = op(" + a + ") op(" + b + ")",
        transposeA ? a.cols() : a.rows(),
        c.rows());
    equal(
        () -> "columns of " + c + " = op(" + a + ") op(" + b + ")",
        transposeB ? b.rows() : b.cols(),
        c.cols());
    equal(() -> "inner size of op(" + a + ") op(" + b + ")", k, transposeB ? b.cols() : b.rows());
  }

  static void groupedMatmul(Tensor c, Tensor a, Tensor b, boolean transposeB, int[] rowStarts) {
    equal(() -> "columns of " + c + " beside experts " + b, b.dim(transposeB ? 1 : 2), c.cols());
    equal(() -> "columns of " + a + " beside experts " + b, b.dim(transposeB ? 2 : 1), a.cols());
    equal(() -> "rows of " + c + " beside " + a, a.rows(), c.rows());
    rowStarts(rowStarts, b.dim(0), a.rows());
  }

  static void groupedWeightGradient(Tensor dw, Tensor dy, Tensor x, int[] rowStarts) {
    equal(() -> "columns of " + dy + " beside experts " + dw, dw.dim(1), dy.cols());
    equal(() -> "columns of " + x + " beside experts " + dw, dw.dim(2), x.cols());
    equal(() -> "rows of " + dy + " beside " + x, x.rows(), dy.rows());
    rowStarts(rowStarts, dw.dim(0), x.rows());
  }

  static void rowStarts(int[] rowStarts, int numExperts, int rows) {
    equal(() -> "row starts of " + numExperts + " experts", numExperts + 1, rowStarts.length);
    boolean ascending = rowStarts[0] >= 0 && rowStarts[numExperts] <= rows;
    for (int e = 0; e < numExperts; e++) {
      ascending &= rowStarts[e] <= rowStarts[e + 1];
    }
    if (!ascending) {
      throw new IllegalArgumentException(
          "row starts must ascend within [0, "
              + rows
              + "], got "
              + rowStarts[0]
              + " to "
              + rowStarts[numExperts]);
    }
  }

  static void quantize(
      Tensor operand, Fp8Tensor kept, Tensor x, int[] rowStarts, Fp8Scaling scaling) {
    if (operand == null && kept == null) {
      throw new IllegalArgumentException(
          "a quantisation of " + x + " must have an operand or codes to write, got neither");
    }
    if (operand != null) {
      operand(operand, x);
    }
    if (kept != null) {
      typed(kept.codes(), scaling.format().type());
      sameSize(kept.codes(), x);
      equal(
          () -> "columns of codes " + kept.codes() + " beside " + x, x.cols(), kept.codes().cols());
      if (scaling.granularity() == Fp8Granularity.TILE_128X1) {
        throw new IllegalArgumentException(
            "codes are kept with scales along a row, so not in tiles of 128 rows by 1 column;"
                + " keep 1x128 tiles and requantise them");
      }
    }
    requireGroups(x, rowStarts);
  }

  static void requantize(Tensor operand, Fp8Tensor x, int[] rowStarts) {
    operand(operand, x.codes());
    requireGroups(x.codes(), rowStarts);
  }

  static void dequantize(Tensor values, Fp8Tensor x) {
    sameSize(values, x.codes());
  }

  /** A tensor that takes the values of x as products read them. */
  static void operand(Tensor operand, Tensor x) {
    operandTyped(operand);
    sameSize(operand, x);
  }

  static void operandTyped(Tensor operand) {
    if (operand.type() != DType.F32) {
      typed(operand, DType.BF16);
    }
  }

  private static void requireGroups(Tensor x, int[] rowStarts) {
    if (rowStarts == null) {
      return;
    }
    if (x.numDims() > 2) {
      throw new IllegalArgumentException(
          "a tensor whose rows are grouped must be one matrix, got " + x);
    }
    rowStarts(rowStarts, rowStarts.length - 1, x.rows());
  }

  /** Rows that end one group of tiles and start the next: those given, or one group a matrix. */
  static int[] groups(Tensor x, int[] rowStarts) {
    if (rowStarts != null) {
      return rowStarts;
    }
    int matrices = 1;
    for (int axis = 0; axis < x.numDims() - 2; axis++) {
      matrices *= x.dim(axis);
    }
    int height = matrices == 0 ? 0 : x.rows() / matrices;
    int[] starts = new int[matrices + 1];
    for (int matrix = 0; matrix <= matrices; matrix++) {
      starts[matrix] = matrix * height;
    }
    return starts;
  }

  static void rmsNorm(Tensor y, Tensor inverseRms, Tensor x, Tensor weight) {
    sameSize(y, x);
    equal(
        () -> "elements of " + x + " beside weight " + weight + " and inverse RMS " + inverseRms,
        (long) inverseRms.size() * weight.size(),
        x.size());
  }

  static void swiGlu(Tensor h, Tensor gateUp, Tensor weight) {
    equal(() -> "columns of gate and up " + gateUp + " beside " + h, 2L * h.cols(), gateUp.cols());
    equal(() -> "rows of gate and up " + gateUp + " beside " + h, h.rows(), gateUp.rows());
    if (weight != null) {
      equal(() -> "weights beside " + h, h.rows(), weight.size());
    }
  }

  static void swiGluBackward(
      Tensor dGateUp, Tensor dWeight, Tensor h, Tensor dh, Tensor gateUp, Tensor weight) {
    swiGlu(dh, gateUp, weight);
    sameSize(dGateUp, gateUp);
    sameSize(h, dh);
    equal(
        () -> "gradients of the weights of " + dh,
        weight == null ? 0 : dh.rows(),
        dWeight == null ? 0 : dWeight.size());
  }

  /** One row of {@code picked} per index, out of the rows of {@code table}. */
  static void rows(Tensor picked, Tensor table, Tensor index) {
    typed(index, DType.I32);
    equal(() -> "columns of " + picked + " beside " + table, table.cols(), picked.cols());
    equal(() -> "rows of " + picked + " beside index " + index, index.size(), picked.rows());
  }

  /** K rows of {@code table} per row of {@code tokens}, each with a weight. */
  static void picks(Tensor tokens, Tensor table, Tensor index, Tensor weight) {
    typed(index, DType.I32);
    sameSize(index, weight);
    equal(() -> "columns of " + tokens + " beside " + table, table.cols(), tokens.cols());
    equal(() -> "rows of " + tokens + " beside index " + index, index.rows(), tokens.rows());
  }

  static void columns(Tensor y, Tensor a, Tensor b) {
    equal(() -> "columns of " + y + " = [" + a + " | " + b + "]", a.cols() + b.cols(), y.cols());
    equal(() -> "rows of " + a + " beside " + y, y.rows(), a.rows());
    equal(() -> "rows of " + b + " beside " + y, y.rows(), b.rows());
  }

  static void crossEntropy(Tensor losses, Tensor logits, Tensor targets) {
    typed(targets, DType.I32);
    equal(() -> "losses of logits " + logits, logits.rows(), losses.size());
    equal(() -> "targets of logits " + logits, logits.rows(), targets.size());
    for (int t = 0; t < targets.size(); t++) {
      if (targets.getInt(t) >= logits.cols()) {
        throw new IllegalArgumentException(
            "target of row "
                + t
                + " must be below the vocabulary size "
                + logits.cols()
                + ", got "
                + targets.getInt(t));
      }
    }
  }

  static void distillation(Tensor losses, Tensor logits, Tensor targets, TeacherTargets teacher) {
    crossEntropy(losses, logits, targets);
    typed(teacher.ids(), DType.I32);
    equal(() -> "teacher rows of logits " + logits, logits.rows(), teacher.ids().rows());
    for (int i = 0; i < teacher.ids().size(); i++) {
      if (teacher.ids().getInt(i) >= logits.cols()) {
        throw new IllegalArgumentException(
            "teacher id of row "
                + i / teacher.topK()
                + " must be below the vocabulary size "
                + logits.cols()
                + ", got "
                + teacher.ids().getInt(i));
      }
    }
  }

  static void rankTokens(
      TeacherTargets ranked, Tensor given, Tensor logits, Tensor targets, int numTokens) {
    crossEntropy(given, logits, targets);
    typed(ranked.ids(), DType.I32);
    equal(() -> "ranked rows of logits " + logits, logits.rows(), ranked.ids().rows());
    if (numTokens > logits.cols()) {
      throw new IllegalArgumentException(
          "tokens must be at most the vocabulary size " + logits.cols() + ", got " + numTokens);
    }
    if (ranked.topK() > numTokens) {
      throw new IllegalArgumentException(
          "top-k must be at most the number of tokens " + numTokens + ", got " + ranked.topK());
    }
  }

  /**
   * @param what put into words only when the check fails: a decoded token makes hundreds of them
   */
  static void equal(Supplier<String> what, long expected, long actual) {
    if (expected != actual) {
      throw new IllegalArgumentException(what.get() + " must be " + expected + ", got " + actual);
    }
  }
}
