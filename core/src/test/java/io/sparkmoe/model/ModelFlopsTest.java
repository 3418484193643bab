package io.sparkmoe.model;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Map;
import org.junit.jupiter.api.Test;

class ModelFlopsTest {

  private static final int SEQUENCES = 3;

  private static final int LENGTH = 5;

  private static double ofStep(Map<String, Object> changes) {
    return ModelFlops.ofStep(TinyModel.config(changes), SEQUENCES, LENGTH, true);
  }

  /** Two operations a multiply-add, the backward twice the forward. */
  @Test
  void everyColumnOfTheVocabularyIsOneProductInThree() {
    ModelConfig model = TinyModel.config(Map.of("num_nextn_predict_layers", 0));
    double more =
        ofStep(Map.of("num_nextn_predict_layers", 0, "vocab_size", model.vocabSize() + 7))
            - ofStep(Map.of("num_nextn_predict_layers", 0));
    assertThat(more).isEqualTo(6.0 * SEQUENCES * LENGTH * 7 * model.hiddenSize());
  }

  /** Experts that are not chosen cost their score, which has no backward of its own. */
  @Test
  void moreExpertsToChooseFromCostTheGatesForward() {
    ModelConfig model = TinyModel.config(Map.of("num_nextn_predict_layers", 0));
    int experts = model.numRoutedExperts();
    double more =
        ofStep(Map.of("num_nextn_predict_layers", 0, "n_routed_experts", 2 * experts))
            - ofStep(Map.of("num_nextn_predict_layers", 0));
    double multiplyAdds =
        (double) SEQUENCES * LENGTH * experts * model.hiddenSize() * model.numMoeLayers();
    assertThat(more).isEqualTo(2 * multiplyAdds);
  }
}
