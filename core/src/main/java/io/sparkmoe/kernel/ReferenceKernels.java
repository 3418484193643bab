package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Bfloat16;
import io.sparkmoe.tensor.Bfloat16Half;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Elements;
import io.sparkmoe.tensor.Tensor;

/**
 * The definition of every kernel: plain loops in double over any floating element type, one formula
 * a method. Slow on purpose; F64 tensors through these kernels are what gradient checks run on.
 * Legend as in {@link Kernels}.
 */
public final class ReferenceKernels implements Kernels {

  @Override
  public DType operandType() {
    return DType.BF16;
  }

  @Override
  public int operandRows(int rows) {
    return rows;
  }

  // ---- matrix products

  @Override
  public void matmul(
      Tensor c, Tensor a, boolean transposeA, Tensor b, boolean transposeB, boolean accumulate) {
    KernelArguments.matmul(c, a, transposeA, b, transposeB);
    int k = transposeA ? a.rows() : a.cols();
    product(c, 0, c.rows(), c.cols(), k, a, 0, transposeA, b, 0, transposeB, accumulate);
  }

  @Override
  public void groupedMatmul(
      Tensor c, Tensor a, Tensor b, boolean transposeB, int[] rowStarts, boolean accumulate) {
    KernelArguments.groupedMatmul(c, a, b, transposeB, rowStarts);
    int n = c.cols();
    int k = a.cols();
    for (int e = 0; e < b.dim(0); e++) {
      int first = rowStarts[e];
      product(
          c,
          first * n,
          rowStarts[e + 1] - first,
          n,
          k,
          a,
          first * k,
          false,
          b,
          e * n * k,
          transposeB,
          accumulate);
    }
  }

  @Override
  public void groupedWeightGradient(
      Tensor dw, Tensor dy, Tensor x, int[] rowStarts, boolean accumulate) {
    KernelArguments.groupedWeightGradient(dw, dy, x, rowStarts);
    int n = dy.cols();
    int k = x.cols();
    for (int e = 0; e < dw.dim(0); e++) {
      int first = rowStarts[e];
      if (first == rowStarts[e + 1]) {
        continue;
      }
      product(
          dw,
          e * n * k,
          n,
          k,
          rowStarts[e + 1] - first,
          dy,
          first * n,
          true,
          x,
          first * k,
          false,
          accumulate);
    }
  }

  /** c[i,j] (+)= sum_p a[i,p] b[p,j], operands starting at an element of their tensor. */
  private static void product(
      Tensor c,
      int cStart,
      int m,
      int n,
      int k,
      Tensor a,
      int aStart,
      boolean transposeA,
      Tensor b,
      int bStart,
      boolean transposeB,
      boolean accumulate) {
    double[] aValues = values(a, aStart, m * k);
    double[] bValues = values(b, bStart, k * n);
    int aRow = transposeA ? 1 : k;
    int aInner = transposeA ? m : 1;
    int bInner = transposeB ? 1 : n;
    int bColumn = transposeB ? k : 1;
    for (int i = 0; i < m; i++) {
      for (int j = 0; j < n; j++) {
        double sum = 0;
        for (int p = 0; p < k; p++) {
          sum += aValues[i * aRow + p * aInner] * bValues[p * bInner + j * bColumn];
        }
        int at = cStart + i * n + j;
        c.set(at, accumulate ? c.get(at) + sum : sum);
      }
    }
  }

  @Override
  public void forEachGroup(int[] rowStarts, GroupBody body) {
    Kernels.forEachGroupInTurn(rowStarts, body);
  }

  // ---- element-wise

  @Override
  public void add(Tensor y, Tensor x) {
    addScaled(y, x, 1);
  }

  @Override
  public void addScaled(Tensor y, Tensor x, double a) {
    KernelArguments.sameSize(y, x);
    for (int i = 0; i < y.size(); i++) {
      y.set(i, y.get(i) + a * x.get(i));
    }
  }

  @Override
  public double sumOfSquares(Tensor x) {
    double sum = 0;
    for (int i = 0; i < x.size(); i++) {
      sum += x.get(i) * x.get(i);
    }
    return sum;
  }

  @Override
  public int firstNonFinite(Tensor x) {
    for (int i = 0; i < x.size(); i++) {
      if (!Double.isFinite(x.get(i))) {
        return i;
      }
    }
    return -1;
  }

  @Override
  public void rmsNorm(Tensor y, Tensor inverseRms, Tensor x, Tensor weight, double eps) {
    KernelArguments.rmsNorm(y, inverseRms, x, weight);
    int d = weight.size();
    for (int t = 0; t < inverseRms.size(); t++) {
      double squares = 0;
      for (int i = 0; i < d; i++) {
        squares += x.get(t * d + i) * x.get(t * d + i);
      }
      // r = 1/sqrt(mean(x^2) + eps); y[i] = x[i] r w[i]
      double r = 1 / Math.sqrt(squares / d + eps);
      inverseRms.set(t, r);
      for (int i = 0; i < d; i++) {
        y.set(t * d + i, x.get(t * d + i) * r * weight.get(i));
      }
    }
  }

  @Override
  public void rmsNormBackward(
      Tensor dx, Tensor dWeight, Tensor dy, Tensor x, Tensor inverseRms, Tensor weight) {
    KernelArguments.rmsNorm(dx, inverseRms, x, weight);
    KernelArguments.sameSize(dy, x);
    KernelArguments.sameSize(dWeight, weight);
    int d = weight.size();
    double[] dWeightSum = values(dWeight, 0, d);
    for (int t = 0; t < inverseRms.size(); t++) {
      double r = inverseRms.get(t);
      double dot = 0;
      for (int i = 0; i < d; i++) {
        // forward: y[i] = x[i] r w[i]; so dw[i] += dy[i] x[i] r
        dot += dy.get(t * d + i) * weight.get(i) * x.get(t * d + i);
        dWeightSum[i] += dy.get(t * d + i) * x.get(t * d + i) * r;
      }
      for (int i = 0; i < d; i++) {
        // r depends on every x: dx[i] += r w[i] dy[i] - x[i] r^3/D sum_j dy[j] w[j] x[j]
        double value =
            r * weight.get(i) * dy.get(t * d + i) - x.get(t * d + i) * r * r * r / d * dot;
        dx.set(t * d + i, dx.get(t * d + i) + value);
      }
    }
    store(dWeight, 0, dWeightSum);
  }

  @Override
  public void swiGlu(Tensor h, Tensor gateUp, Tensor weight) {
    KernelArguments.swiGlu(h, gateUp, weight);
    int f = h.cols();
    for (int t = 0; t < h.rows(); t++) {
      for (int i = 0; i < f; i++) {
        // h = w g sigmoid(g) u
        double w = weight == null ? 1 : weight.get(t);
        double g = gateUp.get(t * 2 * f + i);
        h.set(t * f + i, w * g / (1 + Math.exp(-g)) * gateUp.get(t * 2 * f + f + i));
      }
    }
  }

  @Override
  public void swiGluBackward(
      Tensor dGateUp, Tensor dWeight, Tensor h, Tensor dh, Tensor gateUp, Tensor weight) {
    KernelArguments.swiGluBackward(dGateUp, dWeight, h, dh, gateUp, weight);
    int f = dh.cols();
    for (int t = 0; t < dh.rows(); t++) {
      double w = weight == null ? 1 : weight.get(t);
      double dw = 0;
      for (int i = 0; i < f; i++) {
        // forward: h = w g s u with s = sigmoid(g); so dw = sum dh g s u,
        // dg = w dh u s (1 + g (1 - s)) and du = w dh g s
        double g = gateUp.get(t * 2 * f + i);
        double u = gateUp.get(t * 2 * f + f + i);
        double s = 1 / (1 + Math.exp(-g));
        double d = dh.get(t * f + i);
        dw += d * g * s * u;
        dGateUp.set(t * 2 * f + i, w * d * u * s * (1 + g * (1 - s)));
        dGateUp.set(t * 2 * f + f + i, w * d * g * s);
        h.set(t * f + i, w * g * s * u);
      }
      if (dWeight != null) {
        dWeight.set(t, dw);
      }
    }
  }

  // ---- rows

  @Override
  public void gatherRows(Tensor y, Tensor x, Tensor index) {
    KernelArguments.rows(y, x, index);
    int d = y.cols();
    for (int i = 0; i < index.size(); i++) {
      for (int j = 0; j < d; j++) {
        y.set(i * d + j, x.get(index.getInt(i) * d + j));
      }
    }
  }

  @Override
  public void scatterAddRows(Tensor y, Tensor x, Tensor index) {
    KernelArguments.rows(x, y, index);
    int d = y.cols();
    for (int i = 0; i < index.size(); i++) {
      for (int j = 0; j < d; j++) {
        int at = index.getInt(i) * d + j;
        y.set(at, y.get(at) + x.get(i * d + j));
      }
    }
  }

  @Override
  public void sumPickedRows(Tensor y, Tensor x, Tensor index, Tensor weight) {
    KernelArguments.picks(y, x, index, weight);
    int d = y.cols();
    int k = index.cols();
    for (int t = 0; t < index.rows(); t++) {
      for (int j = 0; j < d; j++) {
        double sum = 0;
        for (int i = t * k; i < (t + 1) * k; i++) {
          sum += weight.get(i) * x.get(index.getInt(i) * d + j);
        }
        y.set(t * d + j, sum);
      }
    }
  }

  @Override
  public void addToPickedRows(Tensor y, Tensor x, Tensor index, Tensor weight) {
    KernelArguments.picks(x, y, index, weight);
    int d = y.cols();
    int k = index.cols();
    double[] sums = values(y, 0, y.size());
    for (int i = 0; i < index.size(); i++) {
      for (int j = 0; j < d; j++) {
        sums[index.getInt(i) * d + j] += weight.get(i) * x.get(i / k * d + j);
      }
    }
    for (int i = 0; i < sums.length; i++) {
      y.set(i, sums[i]);
    }
  }

  @Override
  public void concatColumns(Tensor y, Tensor a, Tensor b) {
    KernelArguments.columns(y, a, b);
    for (int t = 0; t < y.rows(); t++) {
      for (int j = 0; j < y.cols(); j++) {
        boolean left = j < a.cols();
        y.set(
            t * y.cols() + j, left ? a.get(t * a.cols() + j) : b.get(t * b.cols() + j - a.cols()));
      }
    }
  }

  @Override
  public void splitColumnsAdd(Tensor da, Tensor db, Tensor dy) {
    KernelArguments.columns(dy, da, db);
    for (int t = 0; t < dy.rows(); t++) {
      for (int j = 0; j < dy.cols(); j++) {
        Tensor part = j < da.cols() ? da : db;
        int at = t * part.cols() + (part == da ? j : j - da.cols());
        part.set(at, part.get(at) + dy.get(t * dy.cols() + j));
      }
    }
  }

  // ---- attention

  @Override
  public void assembleQuery(Tensor query, Tensor q, Tensor cos, Tensor sin) {
    ReferenceAttention.assembleQuery(query, q, cos, sin);
  }

  @Override
  public void assembleQueryBackward(Tensor dq, Tensor dQuery, Tensor cos, Tensor sin) {
    ReferenceAttention.assembleQueryBackward(dq, dQuery, cos, sin);
  }

  @Override
  public void assembleKeyValue(
      Tensor key, Tensor value, Tensor kv, Tensor keyRope, Tensor cos, Tensor sin) {
    ReferenceAttention.assembleKeyValue(key, value, kv, keyRope, cos, sin);
  }

  @Override
  public void assembleKeyValueBackward(
      Tensor dkv, Tensor dKeyRope, Tensor dKey, Tensor dValue, Tensor cos, Tensor sin) {
    ReferenceAttention.assembleKeyValueBackward(dkv, dKeyRope, dKey, dValue, cos, sin);
  }

  @Override
  public void attention(
      Tensor out, Tensor logSumExp, Tensor query, Tensor key, Tensor value, double scale) {
    ReferenceAttention.attention(out, logSumExp, query, key, value, scale);
  }

  @Override
  public void attentionBackward(
      Tensor dQuery,
      Tensor dKey,
      Tensor dValue,
      Tensor dOut,
      Tensor out,
      Tensor logSumExp,
      Tensor query,
      Tensor key,
      Tensor value,
      double scale) {
    ReferenceAttention.attentionBackward(
        dQuery, dKey, dValue, dOut, out, logSumExp, query, key, value, scale);
  }

  // ---- router

  @Override
  public void sigmoid(Tensor y, Tensor x) {
    KernelArguments.sameSize(y, x);
    for (int i = 0; i < y.size(); i++) {
      y.set(i, 1 / (1 + Math.exp(-x.get(i))));
    }
  }

  @Override
  public void selectExperts(Tensor ids, Tensor scores, Tensor bias, int numGroups, int topGroups) {
    ReferenceRouter.selectExperts(ids, scores, bias, numGroups, topGroups);
  }

  @Override
  public void routingWeights(
      Tensor weights, Tensor scores, Tensor ids, boolean normalise, double scale) {
    ReferenceRouter.routingWeights(weights, scores, ids, normalise, scale);
  }

  @Override
  public void routingWeightsBackward(
      Tensor dScores, Tensor dWeights, Tensor scores, Tensor ids, boolean normalise, double scale) {
    ReferenceRouter.routingWeightsBackward(dScores, dWeights, scores, ids, normalise, scale);
  }

  @Override
  public void chosenLogitsBackward(
      Tensor dLogits, Tensor dWeights, Tensor scores, Tensor ids, boolean normalise, double scale) {
    ReferenceRouter.chosenLogitsBackward(dLogits, dWeights, scores, ids, normalise, scale);
  }

  @Override
  public void sigmoidBackward(Tensor dLogits, Tensor dScores, Tensor scores) {
    KernelArguments.sameSize(dLogits, dScores);
    KernelArguments.sameSize(dScores, scores);
    for (int i = 0; i < scores.size(); i++) {
      // forward: s = 1/(1+exp(-x)); so dx = ds s (1 - s)
      double s = scores.get(i);
      dLogits.set(i, dScores.get(i) * s * (1 - s));
    }
  }

  @Override
  public double balanceLoss(Tensor frequency, Tensor scores, Tensor valid, int topK) {
    return ReferenceRouter.balanceLoss(frequency, scores, valid, topK);
  }

  @Override
  public void balanceLossBackward(
      Tensor dScores, Tensor scores, Tensor frequency, Tensor valid, double gradientScale) {
    ReferenceRouter.balanceLossBackward(dScores, scores, frequency, valid, gradientScale);
  }

  // ---- loss and optimizer

  @Override
  public void crossEntropy(Tensor losses, Tensor logits, Tensor targets, double gradientScale) {
    KernelArguments.crossEntropy(losses, logits, targets);
    int c = logits.cols();
    for (int t = 0; t < targets.size(); t++) {
      int target = targets.getInt(t);
      double largest = Double.NEGATIVE_INFINITY;
      for (int j = 0; j < c; j++) {
        largest = Math.max(largest, logits.get(t * c + j));
      }
      double sum = 0;
      for (int j = 0; j < c; j++) {
        sum += Math.exp(logits.get(t * c + j) - largest);
      }
      // loss = log(sum_j exp(x[j] - max)) - (x[target] - max)
      losses.set(t, target < 0 ? 0 : Math.log(sum) - (logits.get(t * c + target) - largest));
      for (int j = 0; gradientScale != 0 && j < c; j++) {
        // dx[j] = scale (softmax[j] - [j == target])
        double softmax = Math.exp(logits.get(t * c + j) - largest) / sum;
        logits.set(t * c + j, target < 0 ? 0 : gradientScale * (softmax - (j == target ? 1 : 0)));
      }
    }
  }

  @Override
  public void crossEntropyBfloat16(
      Tensor losses, Tensor dLogits, Tensor logits, Tensor targets, double gradientScale) {
    KernelArguments.sameSize(dLogits, logits);
    crossEntropy(losses, logits, targets, gradientScale);
    toBfloat16(dLogits, logits);
  }

  @Override
  public void distillation(
      Tensor losses,
      Tensor logits,
      Tensor targets,
      TeacherTargets teacher,
      DistillationLoss loss,
      double gradientScale) {
    KernelArguments.distillation(losses, logits, targets, teacher);
    ReferenceDistillation.distillation(losses, logits, targets, teacher, loss, gradientScale);
  }

  @Override
  public void rankTokens(
      TeacherTargets ranked, Tensor given, Tensor logits, Tensor targets, int numTokens) {
    KernelArguments.rankTokens(ranked, given, logits, targets, numTokens);
    ReferenceRanking.rankTokens(ranked, given, logits, targets, numTokens);
  }

  @Override
  public void adamW(
      Tensor weight, Tensor firstMoment, Tensor secondMoment, Tensor gradient, AdamWStep step) {
    KernelArguments.sameSize(weight, gradient);
    KernelArguments.sameSize(weight, firstMoment);
    KernelArguments.sameSize(weight, secondMoment);
    update(weight, firstMoment, secondMoment, gradient, step);
  }

  @Override
  public void adamWBfloat16(Tensor weight, Tensor moments, Tensor gradient, AdamWStep step) {
    KernelArguments.sameSize(weight, gradient);
    KernelArguments.sameSize(weight, moments);
    update(weight, Bfloat16Half.lower(moments), Bfloat16Half.upper(moments), gradient, step);
  }

  private static void update(
      Tensor weight, Elements firstMoment, Elements secondMoment, Tensor gradient, AdamWStep step) {
    for (int i = 0; i < weight.size(); i++) {
      double g = step.gradientScale() * gradient.get(i);
      double m = step.beta1() * firstMoment.get(i) + (1 - step.beta1()) * g;
      double v = step.beta2() * secondMoment.get(i) + (1 - step.beta2()) * g * g;
      double decayed = weight.get(i) * (1 - step.learningRate() * step.weightDecay());
      double update = m / step.correction1() / (Math.sqrt(v / step.correction2()) + step.eps());
      firstMoment.set(i, m);
      secondMoment.set(i, v);
      weight.set(i, decayed - step.learningRate() * update);
    }
    if (step.clearsGradient()) {
      gradient.zero();
    }
  }

  // ---- FP8

  @Override
  public void quantize(
      Tensor operand,
      Fp8Tensor kept,
      Tensor x,
      int[] rowStarts,
      Fp8Scaling scaling,
      Fp8Statistics statistics) {
    KernelArguments.quantize(operand, kept, x, rowStarts, scaling);
    ReferenceFp8.quantize(operand, kept, x, rowStarts, scaling);
    Fp8Statistics.count(statistics, operand, kept, x, rowStarts);
  }

  @Override
  public void requantize(
      Tensor operand, Fp8Tensor x, int[] rowStarts, Fp8Scaling scaling, Fp8Statistics statistics) {
    KernelArguments.requantize(operand, x, rowStarts);
    ReferenceFp8.requantize(operand, x, rowStarts, scaling);
    Fp8Statistics.count(statistics, operand, x, rowStarts);
  }

  @Override
  public void dequantize(Tensor values, Fp8Tensor x) {
    KernelArguments.dequantize(values, x);
    ReferenceFp8.dequantize(values, x);
  }

  @Override
  public void gatedFp8(Tensor hidden, Fp8Tensor kept, Tensor gateUp, Tensor weight) {
    KernelArguments.gatedFp8(hidden, kept, gateUp, weight);
    ReferenceGatedFp8.forward(hidden, kept, gateUp, weight);
  }

  @Override
  public void gatedFp8Backward(
      Tensor dGateUp,
      Tensor dGateUpTransposed,
      Tensor hiddenTransposed,
      Tensor dWeight,
      Tensor dHidden,
      Fp8Tensor kept,
      Tensor weight,
      int[] rowStarts) {
    KernelArguments.gatedFp8Backward(
        dGateUp, dGateUpTransposed, hiddenTransposed, dWeight, dHidden, kept, weight, rowStarts);
    ReferenceGatedFp8.backward(
        dGateUp, dGateUpTransposed, hiddenTransposed, dWeight, dHidden, kept, weight, rowStarts);
  }

  // ---- conversions

  @Override
  public void toBfloat16(Tensor rounded, Tensor f32) {
    KernelArguments.operand(rounded, f32);
    for (int i = 0; i < f32.size(); i++) {
      rounded.set(i, Bfloat16.decode(Bfloat16.encode((float) f32.get(i))));
    }
  }

  @Override
  public void fromBfloat16(Tensor f32, Tensor bf16) {
    KernelArguments.typed(bf16, DType.BF16);
    copyValues(f32, bf16);
  }

  private static void copyValues(Tensor y, Tensor x) {
    KernelArguments.sameSize(y, x);
    for (int i = 0; i < y.size(); i++) {
      y.set(i, x.get(i));
    }
  }

  static double[] values(Tensor x, int start, int count) {
    double[] values = new double[count];
    for (int i = 0; i < count; i++) {
      values[i] = x.get(start + i);
    }
    return values;
  }

  static void store(Tensor y, int start, double[] values) {
    for (int i = 0; i < values.length; i++) {
      y.set(start + i, values[i]);
    }
  }
}
