package io.sparkmoe.infer;

import io.sparkmoe.data.TokenRow;
import io.sparkmoe.infer.InferenceModel.Logits;
import io.sparkmoe.tensor.Tensor;
import java.util.Arrays;
import java.util.List;

/**
 * Next-token loss of an inference model on packed rows, as the trainer's evaluation counts it: what
 * rounding the weights costs.
 */
public final class HeldOutLoss {

  private HeldOutLoss() {}

  /**
   * Mean negative log-probability of every token of a row but the first, in nats.
   *
   * @param rows with at least one token to predict among them
   */
  public static double mean(InferenceModel model, List<TokenRow> rows) {
    Sampler scores = new Sampler(model.decodeKernels(), model.config().vocabSize());
    double sum = 0;
    long targets = 0;
    for (TokenRow row : rows) {
      int inputs = row.numTokens() - 1;
      if (inputs < 1) {
        continue;
      }
      try (LatentCache cache = model.newCache(inputs)) {
        int[] tokens = Arrays.copyOf(row.tokens(), inputs);
        Tensor logits = model.forward(List.of(new Append(cache, tokens)), Logits.ALL).logits();
        for (int i = 0; i < inputs; i++) {
          sum -= scores.logProbability(logits, i, row.tokens()[i + 1]);
        }
        targets += inputs;
      }
    }
    if (targets == 0) {
      throw new IllegalArgumentException(
          "no text to measure the loss on: got "
              + rows.size()
              + " rows without a token to predict, expected at least one");
    }
    return sum / targets;
  }
}
