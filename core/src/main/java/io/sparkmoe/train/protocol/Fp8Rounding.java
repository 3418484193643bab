package io.sparkmoe.train.protocol;

/**
 * What rounding to FP8 did to one kind of tensor in a step.
 *
 * @param values rounded
 * @param underflow share of them that became zero without having been zero
 * @param saturation share that is infinite or NaN and became NaN; finite values never saturate,
 *     because scales are taken from them
 * @param amax largest finite magnitude
 */
public record Fp8Rounding(long values, double underflow, double saturation, double amax) {}
