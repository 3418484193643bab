package io.sparkmoe.spark.job;

import io.sparkmoe.distill.Prompt;
import io.sparkmoe.spark.data.BadInputException;

/** Whether completions that stand beside prompts are judged or left out. */
final class Completions {

  private Completions() {}

  /**
   * The prompt as it is to be asked.
   *
   * @param line of {@link Prompt#toJson}
   * @param force whether to judge the completion, which must be there then
   */
  static String apply(String line, boolean force) {
    Prompt prompt = Prompt.fromJson(line, "prompt");
    if (force) {
      if (prompt.completion() == null || prompt.text() == null) {
        throw new BadInputException(
            "a prompt has nothing to judge: got no text completion beside a text prompt, expected"
                + " one for --force; add the column completion, or --seq-len to cut plain text");
      }
      return line;
    }
    return new Prompt(prompt.source(), prompt.text(), prompt.messages(), null, prompt.window())
        .toJson();
  }
}
