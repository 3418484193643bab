package io.sparkmoe.moe;

import io.sparkmoe.tensor.Tensor;

/**
 * Weights of one layer's gating network. E experts, D model width.
 *
 * @param weight (E, D)
 * @param dWeight its gradient, (E, D), added to; null where no backward runs
 * @param bias (E), added to the scores for the choice alone
 */
public record GateWeights(Tensor weight, Tensor dWeight, Tensor bias) {}
