package io.sparkmoe.spark.job;

import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.report.ExpertUse;
import io.sparkmoe.train.protocol.StepEnd.Evaluation;
import java.util.ArrayList;
import java.util.List;

/** Names the layers of an evaluation for people. */
final class ExpertUses {

  private ExpertUses() {}

  /** One entry for each MoE layer, MTP modules last; empty without an evaluation. */
  static List<ExpertUse> of(ModelConfig model, Evaluation evaluation) {
    List<ExpertUse> uses = new ArrayList<>();
    if (evaluation != null) {
      evaluation
          .expertTokens()
          .forEach((layer, bySource) -> uses.add(ExpertUse.of(name(model, layer), bySource)));
    }
    return uses;
  }

  private static String name(ModelConfig model, int layer) {
    return layer < model.numHiddenLayers()
        ? "layer " + layer
        : "MTP module " + (layer - model.numHiddenLayers() + 1);
  }
}
