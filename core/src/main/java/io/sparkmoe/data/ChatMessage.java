package io.sparkmoe.data;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/**
 * One turn of a conversation.
 *
 * @param role who speaks: system, user, assistant, ...
 * @param content what is said
 */
public record ChatMessage(String role, String content) implements Serializable {

  /** Role of what stands before the conversation, such as instructions. */
  public static final String SYSTEM = "system";

  /** Role of the one who asks. */
  public static final String USER = "user";

  /** Role of the teacher's answer. */
  public static final String ASSISTANT = "assistant";

  public ChatMessage {
    Objects.requireNonNull(role);
    Objects.requireNonNull(content);
  }

  /** A conversation with its answer. */
  public static List<ChatMessage> answered(List<ChatMessage> conversation, String answer) {
    List<ChatMessage> all = new ArrayList<>(conversation);
    all.add(new ChatMessage(ASSISTANT, answer));
    return all;
  }
}
