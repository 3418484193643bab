package io.sparkmoe.spark.job;

import io.sparkmoe.distill.Prompt;
import io.sparkmoe.spark.data.BadInputException;
import io.sparkmoe.spark.teach.TeacherSpec;

/** Makes of prompts, as they were read, what a teacher is to be asked. */
final class Askable {

  private Askable() {}

  /**
   * The prompt as it is to be asked.
   *
   * @param line of {@link Prompt#toJson}
   * @param force whether to judge the completion, which must be there then, or to leave it out
   * @throws BadInputException when the teacher cannot answer it
   */
  static String line(TeacherSpec spec, String line, boolean force) {
    Prompt prompt = Prompt.fromJson(line, "prompt");
    if (force && prompt.completion() == null) {
      throw new BadInputException(
          "a prompt has nothing to judge: got no text completion beside the prompt, expected"
              + " one for --force; add the column completion, or --seq-len to cut plain text");
    }
    if (!force) {
      prompt = new Prompt(prompt.source(), prompt.text(), prompt.messages(), null, prompt.window());
    }
    try {
      spec.requireAskable(prompt);
    } catch (IllegalArgumentException e) {
      throw new BadInputException(e.getMessage());
    }
    return prompt.toJson();
  }
}
