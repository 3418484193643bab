package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Tensor;
import java.nio.ByteBuffer;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** {@link Kernels#rankTokens} by vectors: a row is read twice, whatever K. */
final class VectorRanking {

  private final Parallel parallel;

  VectorRanking(Parallel parallel) {
    this.parallel = parallel;
  }

  void rankTokens(
      TeacherTargets ranked, Tensor given, Tensor logits, Tensor targets, int numTokens) {
    int c = logits.cols();
    // One more than is stored: the largest of the tail, which its sum is taken relative to.
    int kept = Math.min(numTokens, ranked.topK() + 1);
    ByteBuffer values = logits.bytes();
    Pieces.forEach(
        parallel,
        targets.size(),
        Pieces.rowGrain(c),
        (first, end) -> {
          TopK best = new TopK(kept);
          for (int t = first; t < end; t++) {
            select(best, values, t * c, numTokens);
            float padding = VectorLoss.largest(values, t * c + numTokens, c - numTokens);
            write(ranked, given, values, t, c, targets.getInt(t), best, padding);
          }
        });
  }

  private static void select(TopK best, ByteBuffer x, int start, int c) {
    best.clear(Float.NEGATIVE_INFINITY);
    int i = 0;
    for (; i < c && best.count() < best.capacity(); i++) {
      best.offer(Lanes.get(x, start + i), i);
    }
    // Nearly every vector fails the comparison as a whole and costs no more than a maximum would.
    int bound = Lanes.bound(i, c);
    float least = best.least();
    for (; i < bound; i += Lanes.LENGTH) {
      FloatVector v = Lanes.load(x, start + i);
      VectorMask<Float> larger = v.compare(VectorOperators.GT, least);
      if (larger.anyTrue()) {
        for (int lane = 0; lane < Lanes.LENGTH; lane++) {
          best.offer(Lanes.get(x, start + i + lane), i + lane);
        }
        least = best.least();
      }
    }
    for (; i < c; i++) {
      best.offer(Lanes.get(x, start + i), i);
    }
  }

  /**
   * @param padding largest logit that belongs to no token, -inf without any
   */
  private static void write(
      TeacherTargets ranked,
      Tensor given,
      ByteBuffer x,
      int t,
      int c,
      int target,
      TopK best,
      float padding) {
    int k = ranked.topK();
    float targetLogit = target < 0 ? 0 : Lanes.get(x, t * c + target);
    double tail = k < c ? tail(x, t * c, c, k, best, padding) : Double.NEGATIVE_INFINITY;
    double largest = Math.max(best.value(0), padding);
    double sum = Math.exp(tail - largest);
    for (int rank = 0; rank < k; rank++) {
      sum += Math.exp(best.value(rank) - largest);
    }
    double logSum = largest + Math.log(sum);
    for (int rank = 0; rank < k; rank++) {
      ranked.ids().setInt(t * k + rank, best.index(rank));
      ranked.logProbabilities().setFloat(t * k + rank, (float) (best.value(rank) - logSum));
    }
    ranked.tailLogMass().setFloat(t, (float) (tail - logSum));
    given.setFloat(t, target < 0 ? 0 : (float) (targetLogit - logSum));
  }

  /**
   * log(sum of exp) of the row without its k largest, which are set to -inf meanwhile: its sum is
   * exact, where 1 - sum of the stored probabilities would cancel.
   */
  private static double tail(ByteBuffer x, int start, int c, int k, TopK best, float padding) {
    for (int rank = 0; rank < k; rank++) {
      Lanes.set(x, start + best.index(rank), Float.NEGATIVE_INFINITY);
    }
    float largest = k < best.count() ? Math.max(best.value(k), padding) : padding;
    double sum = VectorLoss.exponentials(x, start, largest, c, false);
    for (int rank = 0; rank < k; rank++) {
      Lanes.set(x, start + best.index(rank), best.value(rank));
    }
    return largest + Math.log(sum);
  }
}
