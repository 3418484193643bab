package io.sparkmoe.train;

import com.fasterxml.jackson.annotation.JsonInclude;
import io.sparkmoe.parallel.Phase;
import io.sparkmoe.train.protocol.Fp8Rounding;
import io.sparkmoe.train.protocol.WireQuality;
import java.util.Map;

/**
 * One line of {@code metrics.jsonl}.
 *
 * @param step optimizer step, from 1
 * @param tokens tokens trained on so far
 * @param loss main + mtp_loss_weight * MTP + balance_loss_alpha * balance
 * @param mainLoss mean next-token loss, nats
 * @param mtpLoss mean over MTP modules of their mean loss, nats; 0 without modules
 * @param balanceLoss mean over sequences of the balance loss summed over MoE layers, before alpha;
 *     0 where alpha is
 * @param gradNorm global gradient norm before clipping
 * @param learningRate of this step
 * @param tokensPerSecond of this step, evaluation and checkpoint excluded
 * @param stepSeconds mean over ranks, evaluation and checkpoint included
 * @param expertLoadMaxOverMean largest of the layers'
 * @param expertLoadMaxOverMeanByLayer for every MoE layer, MTP modules last
 * @param recentLoadMaxOverMeanByLayer the same over the last {@value
 *     StepMetricsBuilder#RECENT_STEPS} steps' tokens together, which chance moves less
 * @param deadExperts experts without a token in this step, over all MoE layers
 * @param droppedTokens (token, expert) pairs routed but not served
 * @param wireBytes bytes sent by kind, all ranks and the driver
 * @param phaseSeconds seconds by phase, mean over ranks; they add up to stepSeconds
 * @param gateWaitShare share of the step in which ranks waited for the driver's gate
 * @param gradientWire what the gradient wire lost, on rank 0; null when it was not checked
 * @param fp8Rounding what rounding to FP8 did by kind of tensor, on rank 0; null when it was not
 *     counted
 * @param residentBytes largest resident size of a rank's process
 * @param validationLoss mean next-token loss on the validation rows, null when not evaluated
 */
@JsonInclude(JsonInclude.Include.NON_NULL)
public record StepMetrics(
    int step,
    long tokens,
    double loss,
    double mainLoss,
    double mtpLoss,
    double balanceLoss,
    double gradNorm,
    double learningRate,
    double tokensPerSecond,
    double stepSeconds,
    double expertLoadMaxOverMean,
    double[] expertLoadMaxOverMeanByLayer,
    double[] recentLoadMaxOverMeanByLayer,
    int deadExperts,
    long droppedTokens,
    Map<String, Long> wireBytes,
    Map<String, Double> phaseSeconds,
    double gateWaitShare,
    WireQuality gradientWire,
    Map<String, Fp8Rounding> fp8Rounding,
    long residentBytes,
    Double validationLoss) {

  /** Seconds of the step without evaluation and checkpoint. */
  public double trainSeconds() {
    return trainSeconds(stepSeconds, phaseSeconds);
  }

  static double trainSeconds(double stepSeconds, Map<String, Double> phaseSeconds) {
    double pauses =
        phaseSeconds.getOrDefault(Phase.EVALUATE.label(), 0.0)
            + phaseSeconds.getOrDefault(Phase.CHECKPOINT.label(), 0.0);
    return stepSeconds - pauses;
  }
}
