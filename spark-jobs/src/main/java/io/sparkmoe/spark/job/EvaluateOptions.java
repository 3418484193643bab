package io.sparkmoe.spark.job;

import io.sparkmoe.layer.Fp8Recipe;
import io.sparkmoe.train.Precision;

/**
 * What {@code moe evaluate} is asked for.
 *
 * @param checkpoint folder of a checkpoint, or of a run whose newest one is meant
 * @param data folder of a dataset that {@code moe prepare} made
 * @param precision format to compute in, null = the one the checkpoint was trained in
 * @param recipe of FP8, null = the one the checkpoint was trained with
 */
public record EvaluateOptions(
    String checkpoint, String data, Precision precision, Fp8Recipe recipe) {}
