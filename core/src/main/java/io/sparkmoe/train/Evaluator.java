package io.sparkmoe.train;

import io.sparkmoe.data.TokenRow;
import io.sparkmoe.model.LanguageModel;
import io.sparkmoe.model.Losses;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.RoutingListener;
import io.sparkmoe.model.TokenBatch;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import io.sparkmoe.train.protocol.StepEnd.Evaluation;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Next-token loss of a model on validation rows, and which experts the tokens of each source went
 * to.
 */
public final class Evaluator {

  private final LanguageModel model;
  private final ModelConfig config;
  private final BatchAssembler assembler;
  private final int seqLen;
  private final Arena arena;
  private final Runnable onPass;

  /**
   * @param config of the model
   * @param seqLen S, inputs of a row
   * @param arena where activations live during a pass
   * @param onPass runs after every forward pass
   */
  public Evaluator(
      LanguageModel model, ModelConfig config, int seqLen, Arena arena, Runnable onPass) {
    this.model = model;
    this.config = config;
    this.assembler = new BatchAssembler(seqLen, config.numMtpModules());
    this.seqLen = seqLen;
    this.arena = arena;
    this.onPass = onPass;
  }

  /**
   * Runs the model over a rank's rows; every rank must take part.
   *
   * @param step step that the weights are of
   * @param firstPass number of the first forward pass within the step
   * @param rows this rank's rows, may be none
   * @param passes forward passes, the same on every rank
   */
  public Evaluation run(int step, int firstPass, List<TokenRow> rows, int passes) {
    double lossSum = 0;
    long targets = 0;
    Map<Integer, Map<String, long[]>> expertTokens = new TreeMap<>();
    int pass = firstPass;
    for (List<TokenRow> group : MicroBatches.split(rows, passes, seqLen)) {
      try (Scope scope = arena.scope()) {
        TokenBatch batch = assembler.assemble(group, scope);
        RoutingListener listener =
            (layer, routing, tokens) -> count(expertTokens, layer, routing.ids(), group);
        Losses losses = model.evaluate(step, pass++, batch, arena, listener);
        lossSum += losses.mainSum();
        targets += losses.mainCount();
      }
      onPass.run();
    }
    return new Evaluation(lossSum, targets, expertTokens);
  }

  private void count(
      Map<Integer, Map<String, long[]>> expertTokens, int layer, Tensor ids, List<TokenRow> rows) {
    Map<String, long[]> bySource = expertTokens.computeIfAbsent(layer, key -> new HashMap<>());
    int topK = ids.cols();
    int positions = ids.rows() / rows.size();
    for (int b = 0; b < rows.size(); b++) {
      TokenRow row = rows.get(b);
      if (row.numTokens() == 0) {
        continue;
      }
      long[] counts =
          bySource.computeIfAbsent(row.source(), key -> new long[config.numRoutedExperts()]);
      int valid = Math.min(positions, row.numTokens());
      for (int i = b * positions * topK; i < (b * positions + valid) * topK; i++) {
        counts[ids.getInt(i)]++;
      }
    }
  }
}
