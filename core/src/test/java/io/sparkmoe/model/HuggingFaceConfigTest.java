package io.sparkmoe.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.model.ModelConfig.Yarn;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class HuggingFaceConfigTest {

  private static final ObjectMapper JSON = new ObjectMapper();

  /** The published config.json of deepseek-ai/DeepSeek-V3. */
  private static final String PUBLISHED =
      """
      {"architectures": ["DeepseekV3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
       "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"}, "aux_loss_alpha": 0.001,
       "bos_token_id": 0, "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": 3, "hidden_act": "silu",
       "hidden_size": 7168, "initializer_range": 0.02, "intermediate_size": 18432, "kv_lora_rank": 512,
       "max_position_embeddings": 163840, "model_type": "deepseek_v3", "moe_intermediate_size": 2048,
       "moe_layer_freq": 1, "n_group": 8, "n_routed_experts": 256, "n_shared_experts": 1, "norm_topk_prob": true,
       "num_attention_heads": 128, "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 128,
       "num_nextn_predict_layers": 1, "pretraining_tp": 1, "q_lora_rank": 1536, "qk_nope_head_dim": 128,
       "qk_rope_head_dim": 64, "quantization_config": {"fmt": "e4m3", "weight_block_size": [128, 128]},
       "rms_norm_eps": 1e-06,
       "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0,
                        "original_max_position_embeddings": 4096, "type": "yarn"},
       "rope_theta": 10000, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "seq_aux": true,
       "tie_word_embeddings": false, "topk_group": 4, "topk_method": "noaux_tc", "torch_dtype": "bfloat16",
       "transformers_version": "4.33.1", "use_cache": true, "v_head_dim": 128, "vocab_size": 129280}
      """;

  @Test
  void thePublishedFileReadsWholeAndSaysWhatItIgnores() throws IOException {
    List<String> notes = new ArrayList<>();
    ModelConfig model = HuggingFaceConfig.fromJson(JSON.readTree(PUBLISHED), notes::add);

    assertThat(model.numRoutedExperts()).isEqualTo(256);
    assertThat(model.qLoraRank()).isEqualTo(1536);
    assertThat(model.numMtpModules()).isEqualTo(1);
    assertThat(model.yarn()).isEqualTo(new Yarn(40, 32, 1, 1, 1, 4096));
    assertThat(notes)
        .contains(
            "model.quantization_config is ignored: it changes nothing in training",
            "model.aux_loss_alpha is ignored: the balance loss is set by train.balance_loss_alpha")
        .hasSize(12);
  }

  @ParameterizedTest
  @ValueSource(strings = {"tiny", "tiny-256", "yarn-no-q-lora", "shared-two"})
  void aConfigWrittenAgainReadsTheSame(String golden) throws IOException {
    ModelConfig model;
    try (InputStream in = getClass().getResourceAsStream("/golden/" + golden + "/config.json")) {
      model = HuggingFaceConfig.fromJson(JSON.readTree(in), note -> {});
    }
    assertThat(HuggingFaceConfig.fromJson(HuggingFaceConfig.toJson(model), note -> {}))
        .isEqualTo(model);
    assertThat(model.qLoraRank() == 0).isEqualTo(golden.equals("yarn-no-q-lora"));
    assertThat(model.yarn() == null).isEqualTo(!golden.equals("yarn-no-q-lora"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      textBlock =
          """
          scoring_func         | "softmax"  | model.scoring_func is softmax, only sigmoid is implemented
          topk_method          | "greedy"   | model.topk_method is greedy, only noaux_tc is implemented
          hidden_act           | "gelu"     | model.hidden_act is gelu, only silu is implemented
          attention_bias       | true       | model.attention_bias is true, only false is implemented
          attention_dropout    | 0.1        | model.attention_dropout is 0.1, only 0.0 is implemented
          moe_layer_freq       | 2          | model.moe_layer_freq is 2, only 1 is implemented
          tie_word_embeddings  | true       | model.tie_word_embeddings is true, only false is implemented
          rope_interleave      | false      | model.rope_interleave is false, only true is implemented
          model_type           | "llama"    | model.model_type is llama, only deepseek_v3 is implemented
          num_key_value_heads  | 8          | model.num_key_value_heads is 8, expected num_attention_heads=128
          qk_head_dim          | 128        | expected qk_nope_head_dim + qk_rope_head_dim=192
          rope_scaling         | {"type": "linear", "factor": 2} | rope_scaling.rope_type must be default or yarn, got linear
          rope_scaling         | {"type": "yarn", "factor": 2, "attention_factor": 3} | rope_scaling.attention_factor is not supported
          rope_scaling         | {"type": "yarn"} | model.rope_scaling.factor must be >= 1
          rope_scaling         | {"type": "default", "rope_theta": 5} | model.rope_theta is 10000, but rope_scaling.rope_theta is 5
          mtp_hidden           | "mid_norm" | model.mtp_hidden must be post_norm or pre_norm, got mid_norm
          hidden_size          | "wide"     | model.hidden_size must be an integer, got "wide"
          qk_rope_head_dim     | 63         | model.qk_rope_head_dim must be even
          dimensions           | 3          | model.dimensions is no key of a DeepSeek-V3 model
          """)
  void whatThisProgramDoesNotDoIsRefused(String key, String value, String message)
      throws IOException {
    ObjectNode json = (ObjectNode) JSON.readTree(PUBLISHED);
    json.set(key, JSON.readTree(value));

    assertThatThrownBy(() -> HuggingFaceConfig.fromJson(json, note -> {}))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(message);
  }

  @Test
  void aMissingKeyIsNamed() throws IOException {
    ObjectNode json = (ObjectNode) JSON.readTree(PUBLISHED);
    json.remove("kv_lora_rank");

    assertThatThrownBy(() -> HuggingFaceConfig.fromJson(json, note -> {}))
        .hasMessage("model.kv_lora_rank is missing");
  }

  @Test
  void ropeParametersAndRopeScalingSayTheSame() throws IOException {
    ObjectNode json = (ObjectNode) JSON.readTree(PUBLISHED);
    JsonNode scaling = json.remove("rope_scaling");
    ObjectNode parameters = json.putObject("rope_parameters");
    parameters.setAll((ObjectNode) scaling);
    parameters.remove("type");
    parameters.put("rope_type", "yarn").put("rope_theta", 10000);
    json.remove("rope_theta");

    assertThat(HuggingFaceConfig.fromJson(json, note -> {}))
        .isEqualTo(HuggingFaceConfig.fromJson(JSON.readTree(PUBLISHED), note -> {}));
  }
}
