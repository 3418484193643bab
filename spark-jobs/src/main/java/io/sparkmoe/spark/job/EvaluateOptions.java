package io.sparkmoe.spark.job;

/**
 * What {@code moe evaluate} is asked for.
 *
 * @param checkpoint folder of a checkpoint, or of a run whose newest one is meant
 * @param data folder of a dataset that {@code moe prepare} made
 */
public record EvaluateOptions(String checkpoint, String data) {}
