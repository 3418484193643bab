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
public record LossScales(double main, double[] mtp, double balance) {}
