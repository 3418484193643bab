package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;

/**
 * Fast router: rows of scores are copied to arrays, where plain loops compile to vector code. T
 * tokens, S tokens of a sequence, E experts, K experts of a token.
 */
final class VectorRouter {

  /** Tokens summed in float before the sum goes to a double. */
  private static final int SHORT_SUM = 64;

  private final Parallel parallel;

  VectorRouter(Parallel parallel) {
    this.parallel = parallel;
  }

  void selectExperts(Tensor ids, Tensor scores, Tensor bias, int numGroups, int topGroups) {
    RouterShape shape = RouterShape.of(ids, scores, bias, numGroups, topGroups);
    int e = shape.experts();
    int k = shape.topK();
    ByteBuffer shift = bias == null ? null : bias.bytes();
    Pieces.forEach(
        parallel,
        shape.tokens(),
        Pieces.rowGrain(4 * e),
        (first, end) -> {
          float[] choice = new float[e];
          ExpertChoice experts = new ExpertChoice(k, numGroups, topGroups, shift != null);
          int[] chosen = new int[k];
          for (int t = first; t < end; t++) {
            read(choice, scores.bytes(), t * e);
            if (shift != null) {
              add(choice, shift);
            }
            experts.choose(choice, chosen);
            for (int j = 0; j < k; j++) {
              ids.setInt(t * k + j, chosen[j]);
            }
          }
        });
  }

  private static void read(float[] row, ByteBuffer memory, int start) {
    int bound = Lanes.FLOATS.loopBound(row.length);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      Lanes.load(memory, start + i).intoArray(row, i);
    }
    for (int i = bound; i < row.length; i++) {
      row[i] = Lanes.get(memory, start + i);
    }
  }

  private static void add(float[] row, ByteBuffer memory) {
    int bound = Lanes.FLOATS.loopBound(row.length);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector.fromArray(Lanes.FLOATS, row, i).add(Lanes.load(memory, i)).intoArray(row, i);
    }
    for (int i = bound; i < row.length; i++) {
      row[i] += Lanes.get(memory, i);
    }
  }

  void routingWeights(Tensor weights, Tensor scores, Tensor ids, boolean normalise, double scale) {
    RouterShape shape = RouterShape.ofWeights(weights, scores, ids);
    forEachToken(
        shape,
        scores,
        ids,
        normalise,
        (t, chosen) -> {
          for (int j = 0; j < shape.topK(); j++) {
            // w = scale s / (sum of chosen s + 1e-20)
            float weight = (float) (chosen.scores[j] * (scale / chosen.total));
            weights.setFloat(t * shape.topK() + j, weight);
          }
        });
  }

  void routingWeightsBackward(
      Tensor dScores, Tensor dWeights, Tensor scores, Tensor ids, boolean normalise, double scale) {
    RouterShape shape = RouterShape.ofWeights(dWeights, scores, ids);
    KernelArguments.sameSize(dScores, scores);
    forEachToken(
        shape,
        scores,
        ids,
        normalise,
        (t, chosen) -> {
          chosen.differentiate(dWeights, t, scale);
          for (int j = 0; j < shape.topK(); j++) {
            int at = t * shape.experts() + chosen.ids[j];
            dScores.setFloat(at, (float) (dScores.getFloat(at) + chosen.gradients[j]));
          }
        });
  }

  void chosenLogitsBackward(
      Tensor dLogits, Tensor dWeights, Tensor scores, Tensor ids, boolean normalise, double scale) {
    RouterShape shape = RouterShape.ofWeights(dWeights, scores, ids);
    KernelArguments.sameSize(dLogits, ids);
    forEachToken(
        shape,
        scores,
        ids,
        normalise,
        (t, chosen) -> {
          chosen.differentiate(dWeights, t, scale);
          for (int j = 0; j < shape.topK(); j++) {
            double s = chosen.scores[j];
            float gradient = (float) (chosen.gradients[j] * s * (1 - s));
            dLogits.setFloat(t * shape.topK() + j, gradient);
          }
        });
  }

  /** The chosen experts of one token, read once. */
  private static final class Chosen {
    final int[] ids;
    final double[] scores;
    final double[] gradients;
    private final boolean normalise;

    /** Sum of the scores, or 1 where weights are not normalised. */
    double total;

    Chosen(int topK, boolean normalise) {
      ids = new int[topK];
      scores = new double[topK];
      gradients = new double[topK];
      this.normalise = normalise;
    }

    void read(Tensor ofAll, int numExperts, Tensor chosen, int t) {
      double sum = RouterShape.TINY;
      for (int j = 0; j < ids.length; j++) {
        ids[j] = chosen.getInt(t * ids.length + j);
        scores[j] = ofAll.getFloat(t * numExperts + ids[j]);
        sum += scores[j];
      }
      total = normalise ? sum : 1;
    }

    /** Gradients of the scores, written. */
    void differentiate(Tensor dWeights, int t, double scale) {
      double dot = 0;
      for (int j = 0; j < ids.length; j++) {
        gradients[j] = dWeights.getFloat(t * ids.length + j);
        dot += gradients[j] * scores[j];
      }
      double mean = normalise ? dot / total : 0;
      for (int j = 0; j < ids.length; j++) {
        // forward: w_j = scale s_j / z, z = sum s; so ds_j = scale (dw_j / z - sum_i dw_i s_i /
        // z^2)
        gradients[j] = scale * (gradients[j] - mean) / total;
      }
    }
  }

  /** What is done with a token's chosen experts. */
  @FunctionalInterface
  private interface TokenBody {
    void run(int token, Chosen chosen);
  }

  private void forEachToken(
      RouterShape shape, Tensor scores, Tensor ids, boolean normalise, TokenBody body) {
    Pieces.forEach(
        parallel,
        shape.tokens(),
        Pieces.rowGrain(4 * shape.topK()),
        (first, end) -> {
          Chosen chosen = new Chosen(shape.topK(), normalise);
          for (int t = first; t < end; t++) {
            chosen.read(scores, shape.experts(), ids, t);
            body.run(t, chosen);
          }
        });
  }

  /** Sequences are the pieces. */
  double balanceLoss(Tensor frequency, Tensor scores, Tensor valid, int topK) {
    int length = RouterShape.sequenceLength(frequency, scores, valid);
    RouterShape.requireTopK(topK, scores);
    double[] losses = new double[valid.size()];
    parallel.forEach(
        losses.length,
        b -> {
          float[] f = new float[scores.cols()];
          losses[b] = sequenceLoss(f, scores, b * length, valid.getInt(b), topK);
          frequency.bytes().asFloatBuffer().put(b * f.length, f);
        });
    double sum = 0;
    for (double loss : losses) {
      sum += loss;
    }
    return sum;
  }

  /**
   * Loss of the n tokens from {@code firstToken} on.
   *
   * @param frequency (E), written
   */
  private static double sequenceLoss(
      float[] frequency, Tensor scores, int firstToken, int n, int topK) {
    int e = frequency.length;
    float[] row = new float[e];
    float[] recent = new float[e];
    double[] share = new double[e];
    ExpertChoice experts = ExpertChoice.ofAll(topK);
    int[] chosen = new int[topK];
    for (int s = 0; s < n; s++) {
      read(row, scores.bytes(), (firstToken + s) * e);
      float inverse = inverseTotal(row);
      experts.choose(row, chosen);
      for (int expert : chosen) {
        frequency[expert]++;
      }
      for (int i = 0; i < e; i++) {
        recent[i] += row[i] * inverse;
      }
      if ((s + 1) % SHORT_SUM == 0 || s == n - 1) {
        for (int i = 0; i < e; i++) {
          share[i] += recent[i];
          recent[i] = 0;
        }
      }
    }
    double loss = 0;
    for (int i = 0; n > 0 && i < e; i++) {
      // f_i P_i with f_i = E/(K n) count_i and P_i = share_i / n
      frequency[i] *= (float) (e / ((double) topK * n));
      loss += frequency[i] * share[i] / n;
    }
    return loss;
  }

  /** 1 / z with z the sum of a token's scores. */
  private static float inverseTotal(float[] scores) {
    return (float) (1 / (RouterShape.TINY + sum(scores)));
  }

  /** Sequences are the pieces. */
  void balanceLossBackward(
      Tensor dScores, Tensor scores, Tensor frequency, Tensor valid, double gradientScale) {
    KernelArguments.sameSize(dScores, scores);
    int length = RouterShape.sequenceLength(frequency, scores, valid);
    int e = scores.cols();
    parallel.forEach(
        valid.size(),
        b -> {
          float[] f = new float[e];
          float[] row = new float[e];
          read(f, frequency.bytes(), b * e);
          int n = valid.getInt(b);
          for (int s = 0; s < n; s++) {
            // forward: s'_i = s_i / z, loss = sum_i f_i s'_i / n;
            // so ds_j += (f_j - sum_i f_i s'_i) / (n z)
            int first = (b * length + s) * e;
            read(row, scores.bytes(), first);
            float inverse = inverseTotal(row);
            float mean = dot(row, f) * inverse;
            addCentred(dScores.bytes(), first, f, mean, (float) gradientScale * inverse / n);
          }
        });
  }

  /** {@code y += (x - mean) factor}. */
  private static void addCentred(ByteBuffer y, int start, float[] x, float mean, float factor) {
    int bound = Lanes.FLOATS.loopBound(x.length);
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector change = FloatVector.fromArray(Lanes.FLOATS, x, i).sub(mean).mul(factor);
      Lanes.store(y, start + i, Lanes.load(y, start + i).add(change));
    }
    for (int i = bound; i < x.length; i++) {
      Lanes.set(y, start + i, Lanes.get(y, start + i) + (x[i] - mean) * factor);
    }
  }

  private static float sum(float[] x) {
    int bound = Lanes.FLOATS.loopBound(x.length);
    FloatVector sums = VectorMath.zero();
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      sums = sums.add(FloatVector.fromArray(Lanes.FLOATS, x, i));
    }
    float sum = VectorMath.sum(sums);
    for (int i = bound; i < x.length; i++) {
      sum += x[i];
    }
    return sum;
  }

  private static float dot(float[] x, float[] y) {
    int bound = Lanes.FLOATS.loopBound(x.length);
    FloatVector sums = VectorMath.zero();
    for (int i = 0; i < bound; i += Lanes.LENGTH) {
      FloatVector factor = FloatVector.fromArray(Lanes.FLOATS, y, i);
      sums = VectorMath.fma(FloatVector.fromArray(Lanes.FLOATS, x, i), factor, sums);
    }
    float sum = VectorMath.sum(sums);
    for (int i = bound; i < x.length; i++) {
      sum += x[i] * y[i];
    }
    return sum;
  }
}
