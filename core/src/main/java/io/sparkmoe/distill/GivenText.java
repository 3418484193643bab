package io.sparkmoe.distill;

import io.sparkmoe.data.TokenIds;
import io.sparkmoe.data.Tokenizer;
import java.util.Arrays;

/**
 * A request's text as tokens.
 *
 * @param ids prompt and what is to be judged after it
 * @param first index of the first token to judge; the ids' length when there is none
 */
public record GivenText(TeacherRequest request, int[] ids, int first) {

  /** Tokens of a request: a window's as they are, else those of its texts. */
  static GivenText of(TeacherRequest request, Tokenizer tokenizer) {
    Prompt prompt = request.prompt();
    if (prompt.window() != null) {
      return new GivenText(request, prompt.window(), 1);
    }
    int[] promptIds = tokenizer.encode(prompt.text());
    return prompt.completion() == null
        ? new GivenText(request, promptIds, promptIds.length)
        : new GivenText(
            request,
            TokenIds.concat(promptIds, tokenizer.encode(prompt.completion())),
            promptIds.length);
  }

  /** The same text after ids that are not judged. */
  GivenText after(int... begin) {
    return new GivenText(request, TokenIds.concat(begin, ids), begin.length + first);
  }

  /** Whether there is something to judge. */
  boolean isGiven() {
    return first < ids.length;
  }

  /** Tokens that a model reads to judge the others: all but the last. */
  int inputs() {
    return ids.length - 1;
  }

  String prompt(Tokenizer tokenizer) {
    String text = request.prompt().text();
    return text == null ? tokenizer.decode(Arrays.copyOf(ids, first)) : text;
  }

  String completion(Tokenizer tokenizer) {
    String text = request.prompt().completion();
    return text == null ? tokenizer.decode(Arrays.copyOfRange(ids, first, ids.length)) : text;
  }
}
