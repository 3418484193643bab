package io.sparkmoe.spark.teach;

import io.sparkmoe.distill.Prompt;
import io.sparkmoe.distill.Teacher;
import io.sparkmoe.distill.TeacherIdentity;
import io.sparkmoe.distill.TokenUsage;
import java.io.IOException;
import java.io.Serializable;
import java.util.List;

/** A teacher before it is opened; travels to the tasks, each of which opens its own. */
public interface TeacherSpec extends Serializable {

  /** Which model it is. */
  TeacherIdentity identity();

  /** The form of request it is asked in, where there are several; null = there is one. */
  String form();

  /** The tokenizer.json of its ids, null = not known. */
  String tokenizerJson();

  /** Whether answers cost something, so that a first one shows whether there will be any. */
  boolean isRemote();

  /** Reasons to stop that an answer is accepted with unless others are named; empty = any. */
  List<String> goodFinishReasons();

  /**
   * Refuses a prompt that this teacher can never answer.
   *
   * @throws IllegalArgumentException saying what it takes
   */
  void requireAskable(Prompt prompt);

  /** Most tasks that may ask at a time. */
  int maxAskers();

  /** Off-heap bytes of one asker. */
  long offHeapBytes();

  /**
   * Opens it for one of several tasks, which keep to the limits together by dividing them.
   *
   * @param asker number of the task, from 0
   * @param askers how many there are
   * @param threads threads to compute with
   * @param spent by earlier runs
   */
  Teacher open(int asker, int askers, int threads, TokenUsage spent) throws IOException;
}
