package io.sparkmoe.infer;

import java.util.List;

/**
 * One text to write.
 *
 * @param promptIds token ids that it continues, at least one
 * @param maxTokens most tokens to write
 * @param sampling how tokens are chosen
 * @param stops strings that end the text and are no part of it; none is empty
 */
public record GenerationRequest(
    int[] promptIds, int maxTokens, SamplingOptions sampling, List<String> stops) {

  public GenerationRequest {
    if (promptIds.length == 0) {
      throw new IllegalArgumentException(
          "empty prompt: got 0 tokens, expected at least 1; write some text");
    }
    if (maxTokens < 1) {
      throw new IllegalArgumentException("max tokens must be at least 1, got " + maxTokens);
    }
    if (stops.stream().anyMatch(String::isEmpty)) {
      throw new IllegalArgumentException("a stop string must not be empty; leave it out");
    }
    stops = List.copyOf(stops);
  }

  /** Tokens of prompt and text, at most. */
  int length() {
    return promptIds.length + maxTokens;
  }

  /**
   * Refuses a text that the model has no positions for.
   *
   * @param contextLength positions of the model
   */
  public void requireContext(int contextLength) {
    if ((long) promptIds.length + maxTokens > contextLength) {
      throw new IllegalArgumentException(
          "context overflow: got a prompt of "
              + promptIds.length
              + " tokens and max tokens "
              + maxTokens
              + ", expected at most max_position_embeddings="
              + contextLength
              + " together; shorten one of them");
    }
  }
}
