package io.sparkmoe.kernel;

import static io.sparkmoe.kernel.KernelArguments.allF32;

import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;

/**
 * The fast twin of {@link ReferenceDecodeKernels} for F32: checks arguments and hands them to one
 * class a family. Threads and flags as in {@link VectorKernels}.
 */
public final class VectorDecodeKernels implements DecodeKernels {

  private final VectorPanels panels;
  private final VectorLatentAttention attention;

  /**
   * @param gemm matrix library, for attention of many rows; stays the caller's
   * @param parallel threads; stay the caller's
   */
  public VectorDecodeKernels(Gemm gemm, Parallel parallel) {
    panels = new VectorPanels(parallel);
    attention = new VectorLatentAttention(gemm, parallel);
  }

  @Override
  public void pack(PanelMatrix matrices, int matrix, Tensor w) {
    allF32(w);
    panelType(matrices);
    DecodeArguments.pack(matrices, matrix, w);
    panels.pack(matrices, matrix, w);
  }

  @Override
  public void pack(PanelMatrix matrices, int matrix, Fp8Tensor w) {
    panelType(matrices);
    DecodeArguments.pack(matrices, matrix, w);
    panels.pack(matrices, matrix, w);
  }

  private static void panelType(PanelMatrix matrices) {
    if (matrices.values().type() == DType.F64) {
      throw new IllegalArgumentException(
          "VectorDecodeKernels read F32, BF16 or F8_E4M3 weights, got "
              + matrices.values()
              + "; use ReferenceDecodeKernels for other types");
    }
  }

  @Override
  public void linear(Tensor y, Tensor x, PanelMatrix w, boolean accumulate) {
    allF32(y, x);
    panelType(w);
    DecodeArguments.linear(y, x, w);
    panels.linear(y, x, w, accumulate);
  }

  @Override
  public void grouped(Tensor y, Tensor x, Tensor index, PanelMatrix w, int[] rowStarts) {
    allF32(y, x);
    panelType(w);
    DecodeArguments.grouped(y, x, index, w, rowStarts);
    panels.grouped(y, x, index, w, rowStarts);
  }

  @Override
  public void perHead(Tensor y, Tensor x, PanelMatrix w) {
    allF32(y, x);
    panelType(w);
    DecodeArguments.perHead(y, x, w);
    panels.perHead(y, x, w);
  }

  @Override
  public void rotateTail(Tensor y, Tensor x, Tensor cos, Tensor sin) {
    allF32(y, x, cos, sin);
    DecodeArguments.rotateTail(y, x, cos, sin);
    int r = 2 * cos.cols();
    int heads = y.dim(1);
    RotaryTurns turns = new RotaryTurns(cos, sin, 1);
    for (int row = 0; row < y.rows(); row++) {
      int to = (row + 1) * y.cols() - r;
      turns.rotate(y.bytes(), to, x.bytes(), (row + 1) * x.cols() - r, row / heads);
    }
  }

  @Override
  public void latentEntries(Tensor y, Tensor x, Tensor weight, double eps, Tensor cos, Tensor sin) {
    allF32(y, x, weight, cos, sin);
    DecodeArguments.latentEntries(y, x, weight, cos, sin);
    int latent = weight.size();
    ByteBuffer from = x.bytes();
    ByteBuffer to = y.bytes();
    RotaryTurns turns = new RotaryTurns(cos, sin, 1);
    for (int m = 0; m < x.rows(); m++) {
      int at = m * x.cols();
      double squares = VectorRows.dot(from, at, from, at, latent);
      VectorNorm.scaleRow(
          to,
          at,
          from,
          at,
          weight.bytes(),
          (float) (1 / Math.sqrt(squares / latent + eps)),
          latent);
      turns.rotate(to, at + latent, from, at + latent, m);
    }
  }

  @Override
  public void latentAttention(Tensor context, Tensor query, CachedRows[] views, double scale) {
    allF32(context, query);
    for (CachedRows view : views) {
      allF32(view.entries());
    }
    DecodeArguments.latentAttention(context, query, views);
    attention.attention(context, query, views, (float) scale);
  }

  @Override
  public int argMax(Tensor x, int row, int count) {
    allF32(x);
    DecodeArguments.argMax(x, row, count);
    int c = x.cols();
    float largest = VectorLoss.largest(x.bytes(), row * c, count);
    for (int j = 0; j < count; j++) {
      if (Lanes.get(x.bytes(), row * c + j) == largest) {
        return j;
      }
    }
    return 0;
  }

  @Override
  public void softmax(float[] y, Tensor x, int row, double temperature) {
    allF32(x);
    DecodeArguments.softmax(y, x, row, temperature);
    int start = row * x.cols();
    int count = y.length;
    ByteBuffer memory = x.bytes();
    // A temperature next to 0 still leaves 0 for the largest, not infinity times 0.
    float inverse = (float) Math.min(Float.MAX_VALUE, 1 / temperature);
    float largest = VectorLoss.largest(memory, start, count);
    int bound = Lanes.FLOATS.loopBound(count);
    FloatVector sums = VectorMath.zero();
    for (int j = 0; j < bound; j += Lanes.LENGTH) {
      FloatVector e = VectorMath.exp(Lanes.load(memory, start + j).sub(largest).mul(inverse));
      e.intoArray(y, j);
      sums = sums.add(e);
    }
    float sum = VectorMath.sum(sums);
    for (int j = bound; j < count; j++) {
      y[j] = VectorMath.exp((Lanes.get(memory, start + j) - largest) * inverse);
      sum += y[j];
    }
    for (int j = 0; j < count; j++) {
      y[j] /= sum;
    }
  }

  @Override
  public double logSumExp(Tensor x, int row) {
    allF32(x);
    DecodeArguments.row(x, row);
    int c = x.cols();
    float largest = VectorLoss.largest(x.bytes(), row * c, c);
    return largest + Math.log(VectorLoss.exponentials(x.bytes(), row * c, largest, c, false));
  }
}
