package io.sparkmoe.distill;

import java.io.IOException;
import java.util.Iterator;

/**
 * A model that answers prompts: an endpoint, one of our own checkpoints, a DL4J network. One thread
 * calls it; it may work on many requests at a time.
 */
public interface Teacher extends AutoCloseable {

  /** Which model this is. */
  TeacherIdentity identity();

  /**
   * Answers requests until there are no more; every request reaches {@code sink} exactly once,
   * answered or failed, unless this throws.
   *
   * @param requests taken one by one, as the teacher is ready for them
   * @param sink hears of answers in any order; the teacher waits while it writes them down
   * @throws TeacherFailure when no further request has a chance, in one sentence
   */
  void answer(Iterator<TeacherRequest> requests, AnswerSink sink)
      throws IOException, InterruptedException;

  @Override
  void close() throws IOException;
}
