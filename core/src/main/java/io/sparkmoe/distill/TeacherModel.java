package io.sparkmoe.distill;

import java.io.IOException;
import java.util.List;

/** A model in this process that can write text and judge it. Not for use by several threads. */
public interface TeacherModel extends AutoCloseable {

  /** Positions of a text at most, its last token not counted. */
  int contextLength();

  /** Scores of each text's tokens from {@link GivenText#first} on. */
  List<TokenScores> score(List<GivenText> texts);

  /**
   * Goes on from prompts.
   *
   * @param prompts texts with nothing to judge
   * @return the prompts with what was written, in their order
   */
  List<WrittenText> write(List<GivenText> prompts);

  @Override
  void close() throws IOException;
}
