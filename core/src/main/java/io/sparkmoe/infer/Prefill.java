package io.sparkmoe.infer;

import io.sparkmoe.infer.InferenceModel.Logits;
import io.sparkmoe.infer.InferenceModel.Output;
import java.util.ArrayList;
import java.util.List;

/** Feeds prompts in blocks, many sequences in one pass. */
final class Prefill {

  /**
   * Prompt tokens of one pass over all sequences: enough for every expert to have rows, few enough
   * for their intermediate results to stay small.
   */
  static final int ROWS = 512;

  private Prefill() {}

  /** What follows a pass, while its output is valid. */
  @FunctionalInterface
  interface AfterPass {
    /**
     * @param fed sequences of the pass, in the order of its rows
     * @param appends what each was fed
     * @param output logits of each sequence's last row; null when no prompt ended in this pass
     */
    void run(List<Sequence> fed, List<Append> appends, Output output);
  }

  /** Feeds what the caches lack of the prompts. */
  static void run(InferenceModel model, List<Sequence> sequences, AfterPass afterPass) {
    List<Sequence> waiting = new ArrayList<>(sequences);
    while (!waiting.isEmpty()) {
      List<Sequence> fed = new ArrayList<>();
      List<Append> appends = new ArrayList<>();
      int room = ROWS;
      for (Sequence sequence : waiting) {
        int count = Math.min(room, sequence.promptLeft());
        if (count > 0) {
          appends.add(new Append(sequence.cache(), sequence.nextPrompt(count)));
          fed.add(sequence);
          room -= count;
        }
      }
      boolean anyDone = fed.stream().anyMatch(sequence -> sequence.promptLeft() == 0);
      afterPass.run(fed, appends, model.forward(appends, anyDone ? Logits.LAST : Logits.NONE));
      waiting.removeIf(sequence -> sequence.promptLeft() == 0);
    }
  }
}
