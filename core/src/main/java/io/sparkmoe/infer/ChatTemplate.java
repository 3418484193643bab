package io.sparkmoe.infer;

import java.util.List;

/**
 * How turns of a conversation become one text. Our own models know no special tokens for turns, so
 * theirs is plain text: every turn is {@code User: ...} or {@code Assistant: ...} and a blank line,
 * and the model goes on after the last {@code Assistant:}. The model's turn ends where the user's
 * next one would start.
 */
public final class ChatTemplate {

  private static final String USER = "User:";
  private static final String ASSISTANT = "Assistant:";
  private static final String TURN_END = "\n\n";

  private ChatTemplate() {}

  /**
   * What a user's turn adds to the text, up to where the model goes on.
   *
   * @param first whether nothing was said before
   */
  public static String userTurn(String message, boolean first) {
    return (first ? "" : TURN_END) + USER + " " + message.strip() + TURN_END + ASSISTANT;
  }

  /** Strings that end the model's turn. */
  public static List<String> stops() {
    return List.of("\n" + USER, TURN_END + ASSISTANT);
  }
}
