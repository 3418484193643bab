package io.sparkmoe.train.protocol;

/**
 * The replicated gradients as a lossy wire reduced them, against their FP32 sum.
 *
 * @param cosine of the angle between the two, 1 = same direction
 * @param relativeError length of the difference over that of the FP32 sum
 * @param errorOfSum length of the differences' sum over all checked steps of this run, over the sum
 *     of their lengths: error feedback makes it small, without it errors add up to about one over
 *     the root of the number of steps
 */
public record WireQuality(double cosine, double relativeError, double errorOfSum) {}
