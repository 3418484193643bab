package io.sparkmoe.model;

/**
 * Factor of each sum of losses in the total loss, so that gradients of micro-batches and ranks
 * simply add up.
 *
 * @param main of the summed next-token losses: 1 / targets of the global batch
 * @param mtp of the summed losses of each MTP depth: lambda / (depths * targets of that depth in
 *     the global batch)
 * @param balance of the summed balance losses: alpha / sequences of the global batch
 */
public record LossScales(double main, double[] mtp, double balance) {

  /**
   * Scales that make every loss a mean over the global batch; a loss without targets has none.
   *
   * @param mainTargets next-token targets of the global batch
   * @param mtpTargets targets of each MTP depth
   * @param sequences of the global batch
   * @param mtpWeight lambda
   * @param balanceAlpha alpha
   */
  public static LossScales ofMeans(
      long mainTargets, long[] mtpTargets, long sequences, double mtpWeight, double balanceAlpha) {
    double[] mtp = new double[mtpTargets.length];
    for (int k = 0; k < mtp.length; k++) {
      mtp[k] = mtpTargets[k] == 0 ? 0 : mtpWeight / mtp.length / mtpTargets[k];
    }
    return new LossScales(
        mainTargets == 0 ? 0 : 1.0 / mainTargets,
        mtp,
        sequences == 0 ? 0 : balanceAlpha / sequences);
  }
}
