package io.sparkmoe.spark.job;

import io.sparkmoe.config.ResolvedConfig;
import io.sparkmoe.infer.WeightFormat;

/**
 * What {@code moe bench generate} is asked for.
 *
 * @param config shape of the model, with random weights
 * @param weights how the weights are held
 * @param batch texts written at the same time
 * @param prompt tokens of each prompt
 * @param maxTokens tokens written of each text
 * @param prefill tokens of the prompts that prefill is measured on
 * @param repeats measurements, of which the fastest counts
 * @param threads compute threads; 0 = one for each core
 */
public record BenchGenerateOptions(
    ResolvedConfig config,
    WeightFormat weights,
    int batch,
    int prompt,
    int maxTokens,
    int prefill,
    int repeats,
    int threads) {}
