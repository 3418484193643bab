package io.sparkmoe.model;

/**
 * Sums of losses over one micro-batch of one rank.
 *
 * @param mainSum next-token cross-entropy, or the loss against a teacher, in nats
 * @param mainCount targets in it
 * @param mtpSum cross-entropy of each MTP depth, in nats
 * @param mtpCount targets in each
 * @param balanceSum sequence-wise balance loss, over sequences and MoE layers
 * @param droppedTokens (token, expert) pairs sent out and not acknowledged, over MoE layers
 */
public record Losses(
    double mainSum,
    long mainCount,
    double[] mtpSum,
    long[] mtpCount,
    double balanceSum,
    long droppedTokens) {

  /** No losses of a model with that many MTP modules. */
  public static Losses none(int numMtpModules) {
    return new Losses(0, 0, new double[numMtpModules], new long[numMtpModules], 0, 0);
  }

  /** Sum with another micro-batch. */
  public Losses plus(Losses other) {
    double[] mtpSums = mtpSum.clone();
    long[] mtpCounts = mtpCount.clone();
    for (int k = 0; k < mtpSums.length; k++) {
      mtpSums[k] += other.mtpSum[k];
      mtpCounts[k] += other.mtpCount[k];
    }
    return new Losses(
        mainSum + other.mainSum,
        mainCount + other.mainCount,
        mtpSums,
        mtpCounts,
        balanceSum + other.balanceSum,
        droppedTokens + other.droppedTokens);
  }
}
