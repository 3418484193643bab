package io.sparkmoe.train;

import com.fasterxml.jackson.annotation.JsonProperty;
import io.sparkmoe.layer.Fp8Recipe;
import io.sparkmoe.model.Recompute;

/**
 * How a model is trained ({@code train:} in the YAML file).
 *
 * @param steps optimizer steps of the whole run
 * @param batchSequences sequences of one step over all ranks
 * @param seqLen tokens of a sequence
 * @param microBatchSequences sequences of one forward pass on one rank; 0 = all of the rank's
 * @param lr peak learning rate
 * @param minLr learning rate that cosine and wsd end at
 * @param warmupSteps steps of linear warm-up
 * @param schedule shape after the warm-up
 * @param weightDecay decoupled decay of matrices
 * @param beta1 decay of AdamW's first moment
 * @param beta2 decay of AdamW's second moment
 * @param eps AdamW's epsilon, at least 1e-12
 * @param clipNorm largest global gradient norm, 0 = no clipping
 * @param mtpLossWeight lambda of the MTP loss, shared evenly by the modules
 * @param balanceLossAlpha factor of the sequence-wise balance loss
 * @param biasUpdateRate gamma of the selection bias, per step
 * @param seed of initial weights and row order
 * @param precision number format of the linear layers
 * @param fp8Recipe what precision fp8 rounds how; null = {@link Fp8Recipe#DEEPSEEK}
 * @param fp8StatsEvery steps between counts of what rounding to FP8 does, 0 = never
 * @param recompute what a backward computes again instead of having kept it; null = nothing
 * @param evalEvery steps between evaluations, 0 = only at the end
 * @param evalRows validation rows of an evaluation before the last step's, 0 = all
 * @param checkpointEvery steps between checkpoints, 0 = only at the end
 * @param keepCheckpoints newest checkpoints to keep, at least 2
 */
public record TrainConfig(
    @JsonProperty("steps") int steps,
    @JsonProperty("batch_sequences") int batchSequences,
    @JsonProperty("seq_len") int seqLen,
    @JsonProperty("micro_batch_sequences") int microBatchSequences,
    @JsonProperty("lr") double lr,
    @JsonProperty("min_lr") double minLr,
    @JsonProperty("warmup_steps") int warmupSteps,
    @JsonProperty("schedule") Schedule schedule,
    @JsonProperty("weight_decay") double weightDecay,
    @JsonProperty("beta1") double beta1,
    @JsonProperty("beta2") double beta2,
    @JsonProperty("eps") double eps,
    @JsonProperty("clip_norm") double clipNorm,
    @JsonProperty("mtp_loss_weight") double mtpLossWeight,
    @JsonProperty("balance_loss_alpha") double balanceLossAlpha,
    @JsonProperty("bias_update_rate") double biasUpdateRate,
    @JsonProperty("seed") long seed,
    @JsonProperty("precision") Precision precision,
    @JsonProperty("fp8_recipe") Fp8Recipe fp8Recipe,
    @JsonProperty("fp8_stats_every") int fp8StatsEvery,
    @JsonProperty("recompute") Recompute recompute,
    @JsonProperty("eval_every") int evalEvery,
    @JsonProperty("eval_rows") int evalRows,
    @JsonProperty("checkpoint_every") int checkpointEvery,
    @JsonProperty("keep_checkpoints") int keepCheckpoints) {

  /** Shape of the learning rate after the warm-up. */
  public enum Schedule {
    CONSTANT,
    COSINE,
    /**
     * Warm-up, stable, decay: constant, then linear to {@code min_lr} over the last fifth of the
     * steps.
     */
    WSD
  }

  /** Far above any run, and low enough that their product is a long. */
  private static final int MOST_SEQUENCES_OR_TOKENS = 1 << 24;

  /** Below it, what the kernels cut off the moments would change weights. */
  private static final double LEAST_EPS = 1e-12;

  public TrainConfig {
    require(steps >= 1, "steps must be >= 1, got " + steps);
    require(
        batchSequences >= 1 && batchSequences <= MOST_SEQUENCES_OR_TOKENS,
        "batch_sequences must be in [1, " + MOST_SEQUENCES_OR_TOKENS + "], got " + batchSequences);
    require(
        seqLen >= 2 && seqLen <= MOST_SEQUENCES_OR_TOKENS,
        "seq_len must be in [2, " + MOST_SEQUENCES_OR_TOKENS + "], got " + seqLen);
    require(
        microBatchSequences >= 0, "micro_batch_sequences must be >= 0, got " + microBatchSequences);
    require(lr > 0 && Double.isFinite(lr), "lr must be > 0, got " + lr);
    require(minLr >= 0 && minLr <= lr, "min_lr must be in [0, lr=" + lr + "], got " + minLr);
    require(warmupSteps >= 0, "warmup_steps must be >= 0, got " + warmupSteps);
    require(weightDecay >= 0, "weight_decay must be >= 0, got " + weightDecay);
    require(beta1 >= 0 && beta1 < 1, "beta1 must be in [0, 1), got " + beta1);
    require(beta2 >= 0 && beta2 < 1, "beta2 must be in [0, 1), got " + beta2);
    require(eps >= LEAST_EPS, "eps must be >= " + LEAST_EPS + ", got " + eps);
    require(clipNorm >= 0, "clip_norm must be >= 0, got " + clipNorm);
    require(mtpLossWeight >= 0, "mtp_loss_weight must be >= 0, got " + mtpLossWeight);
    require(balanceLossAlpha >= 0, "balance_loss_alpha must be >= 0, got " + balanceLossAlpha);
    require(biasUpdateRate >= 0, "bias_update_rate must be >= 0, got " + biasUpdateRate);
    recompute = recompute == null ? Recompute.NONE : recompute;
    fp8Recipe = fp8Recipe == null ? Fp8Recipe.DEEPSEEK : fp8Recipe;
    require(fp8StatsEvery >= 0, "fp8_stats_every must be >= 0, got " + fp8StatsEvery);
    require(evalEvery >= 0, "eval_every must be >= 0, got " + evalEvery);
    require(evalRows >= 0, "eval_rows must be >= 0, got " + evalRows);
    require(checkpointEvery >= 0, "checkpoint_every must be >= 0, got " + checkpointEvery);
    require(keepCheckpoints >= 2, "keep_checkpoints must be >= 2, got " + keepCheckpoints);
  }

  /** Tokens that one step trains on, over all ranks. */
  public long tokensPerStep() {
    return (long) batchSequences * seqLen;
  }

  /** Whether there is a balance loss to compute. */
  public boolean hasBalanceLoss() {
    return balanceLossAlpha > 0;
  }

  /** The same with another number of steps. */
  public TrainConfig withSteps(int otherSteps) {
    return new TrainConfig(
        otherSteps,
        batchSequences,
        seqLen,
        microBatchSequences,
        lr,
        minLr,
        warmupSteps,
        schedule,
        weightDecay,
        beta1,
        beta2,
        eps,
        clipNorm,
        mtpLossWeight,
        balanceLossAlpha,
        biasUpdateRate,
        seed,
        precision,
        fp8Recipe,
        fp8StatsEvery,
        recompute,
        evalEvery,
        evalRows,
        checkpointEvery,
        keepCheckpoints);
  }

  private static void require(boolean holds, String message) {
    if (!holds) {
      throw new IllegalArgumentException("train." + message);
    }
  }
}
