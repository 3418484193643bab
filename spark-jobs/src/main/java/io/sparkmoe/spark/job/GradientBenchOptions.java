package io.sparkmoe.spark.job;

import io.sparkmoe.layer.Fp8Recipe;

/**
 * What {@code moe bench fp8-gradients} is asked for.
 *
 * @param checkpoint folder of a checkpoint, or of a run whose newest one is meant
 * @param data folder of a dataset that {@code moe prepare} made
 * @param rows training rows of the batch
 * @param recipe what FP8 rounds how
 * @param threads compute threads, 0 = one for each core
 */
public record GradientBenchOptions(
    String checkpoint, String data, int rows, Fp8Recipe recipe, int threads) {}
