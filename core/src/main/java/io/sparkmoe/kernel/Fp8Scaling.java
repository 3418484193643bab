package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Fp8Format;

/**
 * How a tensor is rounded to FP8.
 *
 * @param format of the codes, such as E4M3
 * @param granularity which values share a scale
 */
public record Fp8Scaling(Fp8Format format, Fp8Granularity granularity) {}
