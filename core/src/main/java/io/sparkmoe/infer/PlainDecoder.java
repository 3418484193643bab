package io.sparkmoe.infer;

import io.sparkmoe.infer.InferenceModel.Logits;
import io.sparkmoe.infer.InferenceModel.Output;
import java.util.ArrayList;
import java.util.List;

/** Writes one token a step. */
final class PlainDecoder implements Decoder {

  /**
   * Prompt tokens of one pass over all sequences: enough for every expert to have rows, few enough
   * for their intermediate results to stay small.
   */
  static final int PREFILL_ROWS = 512;

  private final InferenceModel model;
  private final Sampler sampler;

  PlainDecoder(InferenceModel model, Sampler sampler) {
    this.model = model;
    this.sampler = sampler;
  }

  @Override
  public void prefill(List<Sequence> sequences) {
    List<Sequence> waiting = new ArrayList<>(sequences);
    while (!waiting.isEmpty()) {
      List<Sequence> fed = new ArrayList<>();
      List<Append> appends = new ArrayList<>();
      int room = PREFILL_ROWS;
      for (Sequence sequence : waiting) {
        int count = Math.min(room, sequence.promptLeft());
        if (count > 0) {
          appends.add(new Append(sequence.cache(), sequence.nextPrompt(count)));
          fed.add(sequence);
          room -= count;
        }
      }
      boolean anyDone = fed.stream().anyMatch(sequence -> sequence.promptLeft() == 0);
      Output output = model.forward(appends, anyDone ? Logits.LAST : Logits.NONE);
      for (int row = 0; row < fed.size(); row++) {
        if (fed.get(row).promptLeft() == 0) {
          write(fed.get(row), output, row);
        }
      }
      waiting.removeIf(sequence -> sequence.promptLeft() == 0);
    }
  }

  @Override
  public void step(List<Sequence> sequences) {
    List<Append> appends = new ArrayList<>(sequences.size());
    for (Sequence sequence : sequences) {
      appends.add(new Append(sequence.cache(), sequence.lastToken()));
    }
    Output output = model.forward(appends, Logits.LAST);
    for (int row = 0; row < sequences.size(); row++) {
      write(sequences.get(row), output, row);
    }
  }

  private void write(Sequence sequence, Output output, int row) {
    sequence.add(
        sampler.choose(output.logits(), row, sequence.request().sampling(), sequence.numTokens()));
  }
}
