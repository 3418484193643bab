package io.sparkmoe.kernel;

/**
 * How far a student is from its teacher in one row, from what the teacher stored.
 *
 * <p>The vocabulary is seen as the teacher's stored tokens, one outcome each, and the tail, one
 * outcome for all others. p are the teacher's probabilities of these outcomes, q the student's: the
 * softmax over outcome logits, that of the tail being the log-sum-exp of its tokens' logits. At a
 * temperature other than 1 both sides are tempered over these outcomes alike, {@code p^(1/T) / sum
 * p^(1/T)}, so that a student equal to its teacher stays the minimum, and the divergence is
 * multiplied by T^2, which keeps the size of its gradient [1]. Where all of the vocabulary is
 * stored there is no tail, and these are the dense losses.
 *
 * <p>[1] Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015, section 2.
 *
 * @param divergence of p and q
 * @param temperature T, above 0
 * @param crossEntropyWeight w in [0, 1]: the loss is {@code (1 - w) T^2 divergence + w (-log
 *     q1(target))} with q1 the student's softmax at temperature 1
 */
public record DistillationLoss(
    Divergence divergence, double temperature, double crossEntropyWeight) {

  /** What is summed over the outcomes. */
  public enum Divergence {
    /** {@code sum p log(p/q)} over stored tokens and tail: unbiased in the mass of the tail. */
    BUCKET,
    /** The same with p renormalised over the stored tokens, as if the tail were impossible. */
    ZERO_TAIL,
    /** {@code sum q log(q/p)} over stored tokens and tail. */
    REVERSE
  }

  public DistillationLoss {
    if (!(temperature > 0) || Double.isInfinite(temperature)) {
      throw new IllegalArgumentException("temperature must be > 0, got " + temperature);
    }
    if (!(crossEntropyWeight >= 0 && crossEntropyWeight <= 1)) {
      throw new IllegalArgumentException(
          "cross_entropy_weight must be in [0, 1], got " + crossEntropyWeight);
    }
  }
}
