/**
 * Writing text with a trained model in one process: weights laid out for few rows, a cache of
 * compressed keys and values, sampling. Start from {@link io.sparkmoe.infer.TextGenerator}, which
 * drives an {@link io.sparkmoe.infer.InferenceModel}.
 */
package io.sparkmoe.infer;
