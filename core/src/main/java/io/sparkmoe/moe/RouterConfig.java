package io.sparkmoe.moe;

/**
 * How a router chooses experts.
 *
 * @param topK experts K of a token
 * @param numGroups groups that the experts are cut into
 * @param topGroups groups that a token may use
 * @param normalise whether the weights of a token's experts are divided by their sum
 * @param scale factor of the weights, after that
 * @param balanceLoss whether the sequence-wise balance loss is computed; else it is zero
 */
public record RouterConfig(
    int topK, int numGroups, int topGroups, boolean normalise, double scale, boolean balanceLoss) {}
