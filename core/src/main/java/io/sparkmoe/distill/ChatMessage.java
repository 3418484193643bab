package io.sparkmoe.distill;

import java.io.Serializable;
import java.util.Objects;

/**
 * One turn of a conversation.
 *
 * @param role who speaks: system, user, assistant, ...
 * @param content what is said
 */
public record ChatMessage(String role, String content) implements Serializable {

  /** Role of the one who asks. */
  public static final String USER = "user";

  /** Role of the teacher's answer. */
  public static final String ASSISTANT = "assistant";

  public ChatMessage {
    Objects.requireNonNull(role);
    Objects.requireNonNull(content);
  }
}
