package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;

/**
 * The definition of every decode kernel: plain loops in double over any floating element type.
 * Legend as in {@link DecodeKernels}.
 */
public final class ReferenceDecodeKernels implements DecodeKernels {

  @Override
  public void pack(PanelMatrix panels, int matrix, Tensor w) {
    DecodeArguments.pack(panels, matrix, w);
    for (int o = 0; o < panels.outputs(); o++) {
      for (int i = 0; i < panels.inputs(); i++) {
        panels.values().set(panels.at(matrix, o, i), w.get(o * panels.inputs() + i));
      }
    }
  }

  @Override
  public void pack(PanelMatrix panels, int matrix, Fp8Tensor w) {
    DecodeArguments.pack(panels, matrix, w);
    int blocks = Fp8Tensor.scalesPerRow(panels.inputs());
    for (int o = 0; o < panels.outputs(); o++) {
      for (int i = 0; i < panels.inputs(); i++) {
        panels
            .values()
            .bytes()
            .put(panels.at(matrix, o, i), w.codes().bytes().get(o * panels.inputs() + i));
      }
      if (o % PanelMatrix.WIDTH == 0) {
        for (int block = 0; block < blocks; block++) {
          panels
              .scales()
              .bytes()
              .put(
                  panels.scaleAt(matrix, o / PanelMatrix.WIDTH, block),
                  w.scales().bytes().get(o * blocks + block));
        }
      }
    }
  }

  @Override
  public void linear(Tensor y, Tensor x, PanelMatrix w, boolean accumulate) {
    DecodeArguments.linear(y, x, w);
    for (int m = 0; m < y.rows(); m++) {
      product(y, m * w.outputs(), x, m * w.inputs(), w, 0, accumulate);
    }
  }

  @Override
  public void grouped(Tensor y, Tensor x, Tensor index, PanelMatrix w, int[] rowStarts) {
    DecodeArguments.grouped(y, x, index, w, rowStarts);
    for (int e = 0; e < w.count(); e++) {
      for (int r = rowStarts[e]; r < rowStarts[e + 1]; r++) {
        int from = index == null ? r : index.getInt(r);
        product(y, r * w.outputs(), x, from * w.inputs(), w, e, false);
      }
    }
  }

  @Override
  public void perHead(Tensor y, Tensor x, PanelMatrix w) {
    DecodeArguments.perHead(y, x, w);
    for (int row = 0; row < y.rows(); row++) {
      product(y, row * y.cols(), x, row * x.cols(), w, row % w.count(), false);
    }
  }

  /** y[o] (+)= sum_i w[o,i] x[i], operands starting at an element of their tensor. */
  private static void product(
      Tensor y, int yStart, Tensor x, int xStart, PanelMatrix w, int matrix, boolean accumulate) {
    for (int o = 0; o < w.outputs(); o++) {
      double sum = 0;
      for (int i = 0; i < w.inputs(); i++) {
        sum += weight(w, matrix, o, i) * x.get(xStart + i);
      }
      y.set(yStart + o, accumulate ? y.get(yStart + o) + sum : sum);
    }
  }

  private static double weight(PanelMatrix w, int matrix, int output, int input) {
    double value = w.values().get(w.at(matrix, output, input));
    return w.scales() == null
        ? value
        : value * w.scale(matrix, output / PanelMatrix.WIDTH, input / PanelMatrix.SCALE_INPUTS);
  }

  @Override
  public void rotateTail(Tensor y, Tensor x, Tensor cos, Tensor sin) {
    DecodeArguments.rotateTail(y, x, cos, sin);
    int r = 2 * cos.cols();
    for (int row = 0; row < y.rows(); row++) {
      ReferenceAttention.rotate(
          y, (row + 1) * y.cols() - r, x, (row + 1) * x.cols() - r, cos, sin, row / y.dim(1), 1);
    }
  }

  @Override
  public void latentEntries(Tensor y, Tensor x, Tensor weight, double eps, Tensor cos, Tensor sin) {
    DecodeArguments.latentEntries(y, x, weight, cos, sin);
    int width = x.cols();
    int latent = weight.size();
    for (int m = 0; m < x.rows(); m++) {
      double sum = 0;
      for (int i = 0; i < latent; i++) {
        sum += x.get(m * width + i) * x.get(m * width + i);
      }
      double inverseRms = 1 / Math.sqrt(sum / latent + eps);
      for (int i = 0; i < latent; i++) {
        y.set(m * width + i, x.get(m * width + i) * inverseRms * weight.get(i));
      }
      int rope = m * width + latent;
      ReferenceAttention.rotate(y, rope, x, rope, cos, sin, m, 1);
    }
  }

  @Override
  public void latentAttention(Tensor context, Tensor query, CachedRows[] views, double scale) {
    DecodeArguments.latentAttention(context, query, views);
    int heads = query.dim(1);
    int row = 0;
    for (CachedRows view : views) {
      for (int i = 0; i < view.rows(); i++, row++) {
        int seen = view.length() - view.rows() + i + 1;
        for (int h = 0; h < heads; h++) {
          attend(context, query, row * heads + h, view.entries(), seen, scale);
        }
      }
    }
  }

  /** context = sum_j softmax(scale q e_j) latent_j over the first {@code seen} entries e. */
  private static void attend(
      Tensor context, Tensor query, int row, Tensor entries, int seen, double scale) {
    int width = query.cols();
    int latent = context.cols();
    double[] scores = new double[seen];
    double largest = Double.NEGATIVE_INFINITY;
    for (int j = 0; j < seen; j++) {
      for (int i = 0; i < width; i++) {
        scores[j] += scale * query.get(row * width + i) * entries.get(j * width + i);
      }
      largest = Math.max(largest, scores[j]);
    }
    double sum = 0;
    double[] mixed = new double[latent];
    for (int j = 0; j < seen; j++) {
      double e = Math.exp(scores[j] - largest);
      sum += e;
      for (int i = 0; i < latent; i++) {
        mixed[i] += e * entries.get(j * width + i);
      }
    }
    for (int i = 0; i < latent; i++) {
      context.set(row * latent + i, mixed[i] / sum);
    }
  }

  @Override
  public int argMax(Tensor x, int row, int count) {
    DecodeArguments.argMax(x, row, count);
    int c = x.cols();
    int best = 0;
    for (int j = 1; j < count; j++) {
      if (x.get(row * c + j) > x.get(row * c + best)) {
        best = j;
      }
    }
    return best;
  }

  @Override
  public void softmax(float[] y, Tensor x, int row, double temperature) {
    DecodeArguments.softmax(y, x, row, temperature);
    int c = x.cols();
    double largest = x.get(row * c + argMax(x, row, y.length));
    double sum = 0;
    for (int j = 0; j < y.length; j++) {
      sum += Math.exp((x.get(row * c + j) - largest) / temperature);
    }
    for (int j = 0; j < y.length; j++) {
      y[j] = (float) (Math.exp((x.get(row * c + j) - largest) / temperature) / sum);
    }
  }

  @Override
  public double logSumExp(Tensor x, int row) {
    DecodeArguments.row(x, row);
    int c = x.cols();
    double largest = x.get(row * c + argMax(x, row, c));
    double sum = 0;
    for (int j = 0; j < c; j++) {
      sum += Math.exp(x.get(row * c + j) - largest);
    }
    return largest + Math.log(sum);
  }
}
