package io.sparkmoe.distill;

import java.io.IOException;
import java.util.List;

/** Takes what a teacher made of its requests; thread-safe. */
public interface AnswerSink {

  /**
   * Answers, which are safe once this returns.
   *
   * @param usage what they cost; zero where answers cost nothing
   */
  void answered(List<DistillationRow> rows, TokenUsage usage) throws IOException;

  /**
   * A request that the teacher cannot answer; others may fare better.
   *
   * @param reason one sentence
   */
  void failed(TeacherRequest request, String reason) throws IOException;
}
