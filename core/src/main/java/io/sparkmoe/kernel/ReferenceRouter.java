package io.sparkmoe.kernel;

import static io.sparkmoe.kernel.ReferenceKernels.values;

import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;
import java.util.Arrays;

/**
 * Reference of the router: choice, weights, balance loss. T tokens, E experts, K experts of a
 * token.
 */
final class ReferenceRouter {

  private ReferenceRouter() {}

  static void selectExperts(Tensor ids, Tensor scores, Tensor bias, int numGroups, int topGroups) {
    RouterShape shape = RouterShape.of(ids, scores, bias, numGroups, topGroups);
    int e = shape.experts();
    for (int t = 0; t < shape.tokens(); t++) {
      double[] choice = values(scores, t * e, e);
      for (int i = 0; bias != null && i < e; i++) {
        // rounded to the element type, so that near ties fall as they do in the model's own
        // arithmetic
        choice[i] = round(scores.type(), choice[i] + bias.get(i));
      }
      boolean[] allowed = new boolean[e];
      if (topGroups == numGroups) {
        Arrays.fill(allowed, true);
      } else {
        int groupSize = e / numGroups;
        for (int group :
            largest(groupScores(scores.type(), choice, numGroups, bias != null), null, topGroups)) {
          Arrays.fill(allowed, group * groupSize, (group + 1) * groupSize, true);
        }
      }
      int[] chosen = largest(choice, allowed, shape.topK());
      for (int k = 0; k < chosen.length; k++) {
        ids.setInt(t * chosen.length + k, chosen[k]);
      }
    }
  }

  /**
   * With a bias, sum of the two largest choice scores of a group; without, the largest
   * (DeepSeek-V3's model.py).
   */
  private static double[] groupScores(DType type, double[] choice, int numGroups, boolean topTwo) {
    int groupSize = choice.length / numGroups;
    double[] groups = new double[numGroups];
    for (int g = 0; g < numGroups; g++) {
      double[] members = Arrays.copyOfRange(choice, g * groupSize, (g + 1) * groupSize);
      int[] best = largest(members, null, topTwo ? 2 : 1);
      groups[g] = topTwo ? round(type, members[best[0]] + members[best[1]]) : members[best[0]];
    }
    return groups;
  }

  /**
   * Indices of the {@code count} largest allowed values in ascending order; the lowest index wins
   * ties.
   */
  private static int[] largest(double[] values, boolean[] allowed, int count) {
    boolean[] chosen = new boolean[values.length];
    for (int k = 0; k < count; k++) {
      int best = -1;
      for (int i = 0; i < values.length; i++) {
        if (!chosen[i]
            && (allowed == null || allowed[i])
            && (best < 0 || values[i] > values[best])) {
          best = i;
        }
      }
      chosen[best] = true;
    }
    int[] indices = new int[count];
    for (int i = 0, k = 0; i < values.length; i++) {
      if (chosen[i]) {
        indices[k++] = i;
      }
    }
    return indices;
  }

  private static double round(DType type, double value) {
    return type == DType.F64 ? value : (float) value;
  }

  static void routingWeights(
      Tensor weights, Tensor scores, Tensor ids, boolean normalise, double scale) {
    RouterShape shape = RouterShape.ofWeights(weights, scores, ids);
    int k = shape.topK();
    for (int t = 0; t < shape.tokens(); t++) {
      double total = normalise ? chosenSum(scores, ids, t, shape) : 1;
      for (int j = 0; j < k; j++) {
        // w = scale s / (sum of chosen s + 1e-20)
        weights.set(
            t * k + j, scale * scores.get(t * shape.experts() + ids.getInt(t * k + j)) / total);
      }
    }
  }

  static void routingWeightsBackward(
      Tensor dScores, Tensor dWeights, Tensor scores, Tensor ids, boolean normalise, double scale) {
    KernelArguments.sameSize(dScores, scores);
    forEachChosen(
        dWeights,
        scores,
        ids,
        normalise,
        scale,
        (pair, at, gradient) -> dScores.set(at, dScores.get(at) + gradient));
  }

  static void chosenLogitsBackward(
      Tensor dLogits, Tensor dWeights, Tensor scores, Tensor ids, boolean normalise, double scale) {
    KernelArguments.sameSize(dLogits, ids);
    forEachChosen(
        dWeights,
        scores,
        ids,
        normalise,
        scale,
        (pair, at, gradient) ->
            dLogits.set(pair, gradient * scores.get(at) * (1 - scores.get(at))));
  }

  /** Takes the gradient of a chosen expert's score. */
  @FunctionalInterface
  private interface ChosenGradient {

    /**
     * @param pair element of (T, K)
     * @param at element of (T, E)
     */
    void accept(int pair, int at, double gradient);
  }

  private static void forEachChosen(
      Tensor dWeights,
      Tensor scores,
      Tensor ids,
      boolean normalise,
      double scale,
      ChosenGradient body) {
    RouterShape shape = RouterShape.ofWeights(dWeights, scores, ids);
    int k = shape.topK();
    for (int t = 0; t < shape.tokens(); t++) {
      double total = normalise ? chosenSum(scores, ids, t, shape) : 1;
      double dot = 0;
      for (int j = 0; normalise && j < k; j++) {
        dot += dWeights.get(t * k + j) * scores.get(t * shape.experts() + ids.getInt(t * k + j));
      }
      for (int j = 0; j < k; j++) {
        // forward: w_j = scale s_j / z, z = sum s; so ds_j += scale (dw_j / z - sum_i dw_i s_i /
        // z^2)
        int at = t * shape.experts() + ids.getInt(t * k + j);
        body.accept(t * k + j, at, scale * (dWeights.get(t * k + j) - dot / total) / total);
      }
    }
  }

  private static double chosenSum(Tensor scores, Tensor ids, int token, RouterShape shape) {
    double sum = RouterShape.TINY;
    for (int j = 0; j < shape.topK(); j++) {
      sum += scores.get(token * shape.experts() + ids.getInt(token * shape.topK() + j));
    }
    return sum;
  }

  static double balanceLoss(Tensor frequency, Tensor scores, Tensor valid, int topK) {
    int length = RouterShape.sequenceLength(frequency, scores, valid);
    RouterShape.requireTopK(topK, scores);
    int e = scores.cols();
    double loss = 0;
    for (int b = 0; b < valid.size(); b++) {
      int n = valid.getInt(b);
      double[] count = new double[e];
      double[] share = new double[e];
      for (int s = 0; s < n; s++) {
        double[] row = values(scores, (b * length + s) * e, e);
        double total = total(row);
        for (int i : largest(row, null, topK)) {
          count[i]++;
        }
        for (int i = 0; i < e; i++) {
          share[i] += row[i] / total;
        }
      }
      for (int i = 0; i < e; i++) {
        // f_i P_i with f_i = E/(K n) count_i and P_i = share_i / n
        double f = n == 0 ? 0 : count[i] * e / ((double) topK * n);
        frequency.set(b * e + i, f);
        loss += n == 0 ? 0 : f * share[i] / n;
      }
    }
    return loss;
  }

  private static double total(double[] scores) {
    return RouterShape.TINY + Arrays.stream(scores).reduce(0, Double::sum);
  }

  static void balanceLossBackward(
      Tensor dScores, Tensor scores, Tensor frequency, Tensor valid, double gradientScale) {
    KernelArguments.sameSize(dScores, scores);
    int length = RouterShape.sequenceLength(frequency, scores, valid);
    int e = scores.cols();
    for (int b = 0; b < valid.size(); b++) {
      int n = valid.getInt(b);
      for (int s = 0; s < n; s++) {
        // forward: s'_i = s_i / z, loss = sum_i f_i s'_i / n; so ds_j += (f_j - sum_i f_i s'_i) /
        // (n z)
        int first = (b * length + s) * e;
        double total = total(values(scores, first, e));
        double mean = 0;
        for (int i = 0; i < e; i++) {
          mean += frequency.get(b * e + i) * scores.get(first + i) / total;
        }
        for (int i = 0; i < e; i++) {
          double gradient = (frequency.get(b * e + i) - mean) / (n * total);
          dScores.set(first + i, dScores.get(first + i) + gradientScale * gradient);
        }
      }
    }
  }
}
