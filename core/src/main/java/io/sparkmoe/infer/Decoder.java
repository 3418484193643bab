package io.sparkmoe.infer;

import java.util.List;

/** A way to write tokens, one or more a step for every sequence. */
interface Decoder {

  /**
   * Feeds what the caches lack of the prompts and writes the first token of each sequence.
   *
   * @param sequences without written tokens
   */
  void prefill(List<Sequence> sequences);

  /**
   * Writes at least one token to every sequence.
   *
   * @param sequences after their prefill, not finished
   */
  void step(List<Sequence> sequences);

  /** Share of the drafted tokens so far that were accepted; NaN without drafting. */
  default double draftAcceptance() {
    return Double.NaN;
  }
}
