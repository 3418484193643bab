package io.sparkmoe.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Impossible shapes are refused in one sentence that names key, bound and value. */
class ModelConfigTest {

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "hidden_size | 0 | model.hidden_size must be > 0, got 0",
        "num_attention_heads | 0 | model.num_attention_heads must be > 0, got 0",
        "vocab_size | -1 | model.vocab_size must be > 0, got -1",
        "q_lora_rank | -1 | model.q_lora_rank must be >= 0 (0 = full-rank query), got -1",
        "qk_rope_head_dim | 5 | model.qk_rope_head_dim must be even (rotary pairs), got 5",
        "first_k_dense_replace | 3 | model.first_k_dense_replace must be in [0, num_hidden_layers+num_nextn_predict_layers=2], got 3",
        "num_nextn_predict_layers | -1 | model.num_nextn_predict_layers must be >= 0, got -1",
        "n_shared_experts | -2 | model.n_shared_experts must be >= 0, got -2",
        "n_routed_experts | 10 | model.n_routed_experts must be a multiple of n_group=4, got 10",
        "n_group | 8 | model.n_group must leave a group 2 experts (its score is the sum of its two best),"
            + " got n_routed_experts=8 in n_group=8",
        "topk_group | 5 | model.topk_group must be in [1, n_group=4], got 5",
        "num_experts_per_tok | 5 |"
            + " model.num_experts_per_tok must be in [1, topk_group*n_routed_experts/n_group=4], got 5",
        "num_experts_per_tok | 0 |"
            + " model.num_experts_per_tok must be in [1, topk_group*n_routed_experts/n_group=4], got 0",
        "rope_theta | 1 | model.rope_theta must be > 1, got 1.0",
        "rms_norm_eps | 0 | model.rms_norm_eps must be > 0, got 0.0",
        "routed_scaling_factor | 0 | model.routed_scaling_factor must be > 0, got 0.0",
        "hidden_size | 2000000000 | model.hidden_size must be <= 262144, got 2000000000",
        "num_hidden_layers | 100000000 | model.num_hidden_layers must be <= 4096, got 100000000",
        "num_nextn_predict_layers | 2147483647 | model.num_nextn_predict_layers must be <= 4096, got 2147483647",
        "n_routed_experts | 2147483640 | model.n_routed_experts must be <= 262144/MoE layers=262144, got 2147483640",
        "num_attention_heads | 262144 | model.qk_nope_head_dim must be <= 262144/num_attention_heads=1, got 3",
        "n_shared_experts | 2147483647 | model.n_shared_experts must be <= 262144/moe_intermediate_size=87381, got 2147483647",
        "initializer_range | -1 | model.initializer_range must be >= 0, got -1.0"
      })
  void impossibleShapesAreRefused(String key, int value, String message) {
    assertThatThrownBy(() -> TinyModel.config(Map.of(key, value)))
        .rootCause()
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(message);
  }

  @Test
  void yarnMustStretch() {
    assertThatThrownBy(() -> new ModelConfig.Yarn(0.5, 32, 1, 1, 1, 4096))
        .hasMessage("model.rope_parameters.factor must be >= 1, got 0.5");
    assertThatThrownBy(() -> new ModelConfig.Yarn(4, 32, 1, 1, 1, 0))
        .hasMessage("model.rope_parameters.original_max_position_embeddings must be > 0, got 0");
    assertThatThrownBy(() -> new ModelConfig.Yarn(4, 1, 32, 1, 1, 4096))
        .hasMessage("model.rope_parameters.beta_fast must be > beta_slow=32.0 > 0, got 1.0");
    ModelConfig.Yarn bare = new ModelConfig.Yarn(4, 0, 0, 0, 0, 4096);
    assertThat(bare.betaFast()).isEqualTo(32);
    assertThat(bare.betaSlow()).isEqualTo(1);
  }

  /** An expert count is nothing to a model without MoE layers. */
  @Test
  void aDenseModelNeedsNoExperts() {
    ModelConfig dense =
        TinyModel.config(Map.of("first_k_dense_replace", 2, "n_routed_experts", 0, "n_group", 0));
    assertThat(dense.numMoeLayers()).isZero();
    assertThat(dense.mtpHidden()).isEqualTo(ModelConfig.MtpHidden.POST_NORM);
  }

  /**
   * MTP modules are layers after the main model's, and the count of dense layers may cover them.
   */
  @Test
  void aDenseModelMayHaveDenseMtpModules() {
    ModelConfig dense =
        TinyModel.config(
            Map.of(
                "first_k_dense_replace", 3, "num_nextn_predict_layers", 1, "n_routed_experts", 0));
    assertThat(dense.numMoeLayers()).isZero();
    assertThat(dense.isMoe(2)).isFalse();
  }

  @Test
  void mtpModulesCountAsMoeLayers() {
    ModelConfig config = TinyModel.config(Map.of("num_nextn_predict_layers", 2));
    assertThat(config.numLayers()).isEqualTo(4);
    assertThat(config.numMoeLayers()).isEqualTo(3);
    assertThat(config.isMoe(0)).isFalse();
    assertThat(config.isMoe(3)).isTrue();
  }
}
