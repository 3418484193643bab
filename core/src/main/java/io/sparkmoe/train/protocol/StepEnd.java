package io.sparkmoe.train.protocol;

import io.sparkmoe.checkpoint.FileEntry;
import java.util.List;
import java.util.Map;

/**
 * A rank's last word in a step.
 *
 * @param phaseSeconds seconds by phase, by ordinal of {@link io.sparkmoe.parallel.Phase}
 * @param sentBytes bytes sent in this step, by ordinal of {@link io.sparkmoe.parallel.FrameKind}
 * @param evaluation sums over this rank's validation rows, null when there was no evaluation
 * @param files checkpoint files that this rank wrote, empty when there was none
 * @param residentBytes resident size of this rank's process
 */
public record StepEnd(
    double[] phaseSeconds,
    long[] sentBytes,
    Evaluation evaluation,
    List<FileEntry> files,
    long residentBytes) {

  /**
   * Sums over validation rows.
   *
   * @param lossSum sum of next-token losses
   * @param targets number of next-token targets
   * @param expertTokens tokens by source and expert, for each MoE layer: layer -> source -> count
   *     by expert
   */
  public record Evaluation(
      double lossSum, long targets, Map<Integer, Map<String, long[]>> expertTokens) {

    /** Mean next-token loss, nats; 0 without targets. */
    public double meanLoss() {
      return targets == 0 ? 0 : lossSum / targets;
    }

    /**
     * The same in bits per byte of text.
     *
     * @param bytesPerToken bytes of text in a token of the rows
     */
    public double bitsPerByte(double bytesPerToken) {
      return meanLoss() / Math.log(2) / bytesPerToken;
    }
  }
}
