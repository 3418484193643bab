package io.sparkmoe.model;

/**
 * Sums of losses over one micro-batch of one rank.
 *
 * @param mainSum next-token cross-entropy, in nats
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
    long droppedTokens) {}
