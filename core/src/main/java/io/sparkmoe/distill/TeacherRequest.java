package io.sparkmoe.distill;

import java.io.Serializable;
import java.util.List;
import java.util.Objects;

/**
 * One thing to ask a teacher.
 *
 * @param id stable name, see {@link RequestIds}
 * @param source where the prompt comes from; never null
 * @param prompt text to go on from; null when there are messages
 * @param messages conversation to answer; null when there is a prompt
 * @param completion text whose tokens the teacher is to judge instead of answering; null = answer
 * @param seed of this request's sampling
 */
public record TeacherRequest(
    String id,
    String source,
    String prompt,
    List<ChatMessage> messages,
    String completion,
    long seed)
    implements Serializable {

  public TeacherRequest {
    Objects.requireNonNull(id);
    Objects.requireNonNull(source);
    messages = messages == null ? null : List.copyOf(messages);
    if ((prompt == null) == (messages == null)) {
      throw new IllegalArgumentException(
          "request " + id + " has a prompt and messages or neither, expected one of the two");
    }
  }
}
