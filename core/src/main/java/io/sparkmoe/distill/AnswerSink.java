package io.sparkmoe.distill;

import java.io.IOException;

/** Takes what a teacher made of its requests; thread-safe. */
public interface AnswerSink {

  /** An answer, which is safe once this returns. */
  void answered(DistillationRow row) throws IOException;

  /**
   * A request that the teacher cannot answer; others may fare better.
   *
   * @param reason one sentence
   */
  void failed(TeacherRequest request, String reason) throws IOException;
}
