package io.sparkmoe.distill;

import io.sparkmoe.data.ChatMessage;
import io.sparkmoe.data.ChatTemplate;
import io.sparkmoe.data.TokenIds;
import io.sparkmoe.data.Tokenizer;
import java.util.Arrays;
import java.util.List;

/**
 * A request's text as tokens.
 *
 * @param ids prompt and what is to be judged after it
 * @param first index of the first token to judge; the ids' length when there is none
 */
public record GivenText(TeacherRequest request, int[] ids, int first) {

  /**
   * Tokens of a request: a window's as they are, else those of its texts; a conversation as {@link
   * ChatTemplate} writes it.
   */
  static GivenText of(TeacherRequest request, Tokenizer tokenizer) {
    Prompt prompt = request.prompt();
    if (prompt.window() != null) {
      return new GivenText(request, prompt.window(), 1);
    }
    String text = prompt.isConversation() ? ChatTemplate.text(prompt.messages()) : prompt.text();
    int[] promptIds = tokenizer.encode(text);
    GivenText open = new GivenText(request, promptIds, promptIds.length);
    return prompt.completion() == null
        ? open
        : open.with(tokenizer.encode(open.completion(tokenizer)));
  }

  /** A text with nothing to judge, and tokens after it to judge. */
  GivenText with(int... judged) {
    return new GivenText(request, TokenIds.concat(ids, judged), ids.length);
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

  /** Null for a conversation. */
  String prompt(Tokenizer tokenizer) {
    Prompt prompt = request.prompt();
    return prompt.window() == null ? prompt.text() : tokenizer.decode(Arrays.copyOf(ids, first));
  }

  /** The text to judge, as it follows the prompt. */
  String completion(Tokenizer tokenizer) {
    Prompt prompt = request.prompt();
    if (prompt.completion() == null) {
      return tokenizer.decode(Arrays.copyOfRange(ids, first, ids.length));
    }
    return prompt.isConversation() ? ChatTemplate.answer(prompt.completion()) : prompt.completion();
  }

  /** The conversation with its answer; null when there is none. */
  List<ChatMessage> messages(String completion) {
    return request.prompt().isConversation()
        ? ChatMessage.answered(request.prompt().messages(), completion.strip())
        : null;
  }
}
