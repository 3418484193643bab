package io.sparkmoe.distill;

/**
 * A text that a model wrote.
 *
 * @param prompt what it goes on from
 * @param ids written tokens, the one that ended it included; none of a stop string
 * @param text of them
 * @param logprobs of each written token in the full softmax at temperature 1
 * @param isEnded whether the model ended it itself
 */
public record WrittenText(
    GivenText prompt, int[] ids, String text, float[] logprobs, boolean isEnded) {

  /** The written tokens as something to judge. */
  GivenText given() {
    return prompt.with(ids);
  }
}
