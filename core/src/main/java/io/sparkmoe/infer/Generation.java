package io.sparkmoe.infer;

/**
 * A text that was written.
 *
 * @param text without stop string and special tokens
 * @param promptIds what it continues
 * @param tokenIds written ids, the end-of-text token included where the model wrote it
 * @param logProbabilities of each written id in the full softmax at temperature 1, in nats
 * @param finishReason why it ended
 */
public record Generation(
    String text,
    int[] promptIds,
    int[] tokenIds,
    float[] logProbabilities,
    FinishReason finishReason) {}
