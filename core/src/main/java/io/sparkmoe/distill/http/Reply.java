package io.sparkmoe.distill.http;

import io.sparkmoe.distill.TokenUsage;
import java.util.List;

/**
 * What an endpoint said.
 *
 * @param answer text of the answer
 * @param reasoning what it thought first; null = nothing or not shown
 * @param finishReason why it stopped; null = not said
 * @param tokens of the answer with their log-probabilities; null = not given
 * @param usage what it counted; null = not said
 * @param revision what it calls the version of the model; null = nothing
 */
record Reply(
    String answer,
    String reasoning,
    String finishReason,
    List<Token> tokens,
    TokenUsage usage,
    String revision) {

  /**
   * A token and its chance.
   *
   * @param bytes it stands for
   * @param logprob its log-probability, NaN when the endpoint only says that it is small
   */
  record Chance(byte[] bytes, float logprob) {}

  /**
   * A token of the answer.
   *
   * @param sampled the token itself
   * @param alternatives the most probable ones, most probable first
   */
  record Token(Chance sampled, List<Chance> alternatives) {}
}
