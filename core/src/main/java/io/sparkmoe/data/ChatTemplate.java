package io.sparkmoe.data;

import io.sparkmoe.io.Sha256;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * How turns of a conversation become one text. Our own models know no special tokens for turns, so
 * theirs is plain text: every turn is {@code System: ...}, {@code User: ...} or {@code Assistant:
 * ...} and a blank line, and the model goes on after the last {@code Assistant:}. The model's turn
 * ends where the user's next one would start.
 */
public final class ChatTemplate {

  private static final String SYSTEM = "System:";
  private static final String USER = "User:";
  private static final String ASSISTANT = "Assistant:";
  private static final String TURN_END = "\n\n";

  /** Every role, and space that the template leaves out. */
  private static final List<ChatMessage> SAMPLE =
      List.of(
          new ChatMessage(ChatMessage.SYSTEM, " one\n"),
          new ChatMessage(ChatMessage.USER, " two\n"),
          new ChatMessage(ChatMessage.ASSISTANT, " three\n"),
          new ChatMessage(ChatMessage.USER, " four\n"));

  private static final String SHA256 = Sha256.hex(text(SAMPLE).getBytes(StandardCharsets.UTF_8));

  private ChatTemplate() {}

  /**
   * A conversation up to where the model goes on.
   *
   * @throws IllegalArgumentException when a role has no turn
   */
  public static String text(List<ChatMessage> conversation) {
    StringBuilder text = new StringBuilder();
    for (ChatMessage message : conversation) {
      text.append(turn(speaker(message.role()), message.content())).append(TURN_END);
    }
    return text + ASSISTANT;
  }

  /**
   * What a user's turn adds to the text, up to where the model goes on.
   *
   * @param first whether nothing was said before
   */
  public static String userTurn(String message, boolean first) {
    return (first ? "" : TURN_END) + turn(USER, message) + TURN_END + ASSISTANT;
  }

  /** How an answer follows the text that the model goes on from. */
  public static String answer(String message) {
    return " " + message.strip();
  }

  /** Strings that end the model's turn. */
  public static List<String> stops() {
    return List.of("\n" + USER, TURN_END + ASSISTANT);
  }

  /** Names the template in datasets: the SHA-256, in hex, of a conversation as it writes it. */
  public static String sha256() {
    return SHA256;
  }

  /**
   * Refuses a conversation that the template cannot write.
   *
   * @throws IllegalArgumentException when a role has no turn
   */
  public static void requireRoles(List<ChatMessage> conversation) {
    conversation.forEach(message -> speaker(message.role()));
  }

  private static String turn(String speaker, String message) {
    return speaker + answer(message);
  }

  private static String speaker(String role) {
    return switch (role) {
      case ChatMessage.SYSTEM -> SYSTEM;
      case ChatMessage.USER -> USER;
      case ChatMessage.ASSISTANT -> ASSISTANT;
      default ->
          throw new IllegalArgumentException(
              "the chat template has no turn for a role: got "
                  + role
                  + ", expected system, user or assistant; leave out the conversation or name the"
                  + " role as one of them");
    };
  }
}
