package io.sparkmoe.infer;

import io.sparkmoe.infer.InferenceModel.Logits;
import io.sparkmoe.infer.InferenceModel.Output;
import java.util.ArrayList;
import java.util.List;

/** Writes one token a step. */
final class PlainDecoder implements Decoder {

  private final InferenceModel model;
  private final Sampler sampler;

  PlainDecoder(InferenceModel model, Sampler sampler) {
    this.model = model;
    this.sampler = sampler;
  }

  @Override
  public void prefill(List<Sequence> sequences) {
    Prefill.run(
        model,
        sequences,
        (fed, appends, output) -> {
          for (int row = 0; row < fed.size(); row++) {
            if (fed.get(row).promptLeft() == 0) {
              write(fed.get(row), output, row);
            }
          }
        });
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
