package io.sparkmoe.distill;

import java.util.Objects;

/**
 * One thing to ask a teacher.
 *
 * @param id stable name, see {@link RequestIds}
 * @param prompt what is asked
 * @param seed of this request's sampling
 */
public record TeacherRequest(String id, Prompt prompt, long seed) {

  public TeacherRequest {
    Objects.requireNonNull(id);
    Objects.requireNonNull(prompt);
  }
}
