package io.sparkmoe.train.protocol;

/**
 * How many targets and sequences a batch has: a rank's own on the way to the coordinator, the
 * global sums on the way back.
 *
 * @param mainTargets next-token targets that count
 * @param mtpTargets targets that count, by MTP depth
 * @param sequences number of sequences
 */
public record StepCounts(long mainTargets, long[] mtpTargets, long sequences) {

  /** Sum of two counts of the same model. */
  public StepCounts plus(StepCounts other) {
    long[] sums = mtpTargets.clone();
    for (int i = 0; i < sums.length; i++) {
      sums[i] += other.mtpTargets[i];
    }
    return new StepCounts(mainTargets + other.mainTargets, sums, sequences + other.sequences);
  }
}
