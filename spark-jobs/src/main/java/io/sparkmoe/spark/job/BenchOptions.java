package io.sparkmoe.spark.job;

import io.sparkmoe.config.ResolvedConfig;

/**
 * What {@code moe bench train} is asked for.
 *
 * @param config merged configuration, with batch, sequence length, timed steps and precision
 * @param warmup untimed steps before the timed ones
 * @param executors number of Spark executors, 0 = this process without Spark
 * @param threads threads of each rank, 0 = as many as there are cores
 */
public record BenchOptions(ResolvedConfig config, int warmup, int executors, int threads) {}
