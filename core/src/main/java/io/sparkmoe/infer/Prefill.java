package io.sparkmoe.infer;

import io.sparkmoe.infer.InferenceModel.Logits;
import io.sparkmoe.infer.InferenceModel.Output;
import io.sparkmoe.kernel.DecodeKernels;
import io.sparkmoe.model.ModelConfig;
import java.util.ArrayList;
import java.util.List;

/**
 * Feeds prompts in blocks, many sequences in one pass. A prompt is cut at multiples of {@link
 * DecodeKernels#BLOCK_POSITIONS} only, so what its cache holds does not depend on the others.
 */
final class Prefill {

  /** Prompt tokens of one pass over all sequences, at least and at most. */
  private static final int LEAST_ROWS = 512;

  private static final int MOST_ROWS = 2048;

  /** Tokens of an expert from which on computing, not reading its weights, takes the time. */
  private static final int EXPERT_ROWS = 64;

  /** Intermediate results of routed experts that a pass may have, bytes. */
  private static final long ROUTED_BYTES = 256L << 20;

  private Prefill() {}

  /**
   * Prompt tokens of a pass: enough for an expert to have rows that are worth reading its weights,
   * few enough for their intermediate results to stay small.
   */
  static int rows(ModelConfig model) {
    if (model.numMoeLayers() == 0) {
      return LEAST_ROWS;
    }
    int topK = model.numExpertsPerTok();
    long wanted = (long) EXPERT_ROWS * model.numRoutedExperts() / topK;
    long values = (long) topK * (3 * model.moeIntermediateSize() + model.hiddenSize());
    long fit = ROUTED_BYTES / (values * Float.BYTES);
    return (int) Math.max(LEAST_ROWS, Math.min(MOST_ROWS, Math.min(wanted, fit)));
  }

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
    int rows = rows(model.config());
    List<Sequence> waiting = new ArrayList<>(sequences);
    while (!waiting.isEmpty()) {
      List<Sequence> fed = new ArrayList<>();
      List<Append> appends = new ArrayList<>();
      int room = rows;
      for (Sequence sequence : waiting) {
        int count = fitting(sequence, room);
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

  /** Tokens that a pass with that much room takes of a prompt: all that are left, or blocks. */
  private static int fitting(Sequence sequence, int room) {
    int left = sequence.promptLeft();
    if (left <= room) {
      return left;
    }
    int position = sequence.cache().length();
    int end = (position + room) / DecodeKernels.BLOCK_POSITIONS * DecodeKernels.BLOCK_POSITIONS;
    return Math.max(0, end - position);
  }
}
