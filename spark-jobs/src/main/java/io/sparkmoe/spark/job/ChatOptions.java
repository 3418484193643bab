package io.sparkmoe.spark.job;

import io.sparkmoe.infer.SamplingOptions;
import io.sparkmoe.infer.WeightFormat;

/**
 * What {@code moe chat} is asked for.
 *
 * @param checkpoint folder of a run, a checkpoint, or a Hugging Face model
 * @param maxTokens most tokens of an answer
 * @param sampling how tokens are chosen
 * @param weights how the weights are held
 * @param speculative whether the model's MTP module drafts tokens
 * @param threads compute threads; 0 = one for each core
 */
public record ChatOptions(
    String checkpoint,
    int maxTokens,
    SamplingOptions sampling,
    WeightFormat weights,
    boolean speculative,
    int threads) {}
