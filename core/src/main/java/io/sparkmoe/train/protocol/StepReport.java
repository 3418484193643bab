package io.sparkmoe.train.protocol;

import java.util.Map;

/**
 * A rank's word after its backward pass and the reduction of replicated gradients.
 *
 * @param mainLossSum sum of next-token losses over this rank's targets
 * @param mtpLossSums the same by MTP depth
 * @param balanceLossSum sum of sequence-wise balance losses over sequences and MoE layers
 * @param droppedTokens (token, expert) pairs that were routed but not served, counted from the
 *     dispatch
 * @param expertSquares sum of squares of this rank's expert gradients
 * @param replicatedSquares sum of squares of the reduced replicated gradients; equal on all ranks
 * @param wireQuality what the gradient wire lost in this step, null when it was not checked
 * @param fp8Rounding what rounding to FP8 did by kind of tensor, null when it was not counted
 * @param nonFinite name of the first tensor with a non-finite value, null when there is none
 */
public record StepReport(
    double mainLossSum,
    double[] mtpLossSums,
    double balanceLossSum,
    long droppedTokens,
    double expertSquares,
    double replicatedSquares,
    WireQuality wireQuality,
    Map<String, Fp8Rounding> fp8Rounding,
    String nonFinite) {}
