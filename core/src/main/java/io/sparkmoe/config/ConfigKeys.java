package io.sparkmoe.config;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.sparkmoe.config.ConfigKey.Kind;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** Every key of a run's configuration, in the order in which it is printed. */
public final class ConfigKeys {

  private static final JsonNodeFactory JSON = JsonNodeFactory.instance;

  private static final List<ConfigKey> ALL = all(new Table());

  private ConfigKeys() {}

  /** Every key, by section. */
  public static List<ConfigKey> all() {
    return ALL;
  }

  /** The key of that full name. */
  static Optional<ConfigKey> byFullName(String fullName) {
    return ALL.stream().filter(key -> key.fullName().equals(fullName)).findFirst();
  }

  /**
   * The key that a full name, or a bare one that only one section has, stands for.
   *
   * @param origin where it was written, for the message
   * @throws IllegalArgumentException naming the nearest key
   */
  static ConfigKey require(String written, String origin) {
    List<ConfigKey> found =
        ALL.stream()
            .filter(key -> key.fullName().equals(written) || key.name().equals(written))
            .toList();
    if (found.size() == 1) {
      return found.get(0);
    }
    throw unknown(written, origin);
  }

  static IllegalArgumentException unknown(String written, String origin) {
    return unknown(written, origin, nearest(written));
  }

  static IllegalArgumentException unknown(String written, String origin, String nearest) {
    return new IllegalArgumentException(
        "unknown config key: got "
            + written
            + " from "
            + origin
            + ", the nearest known one is "
            + nearest
            + "; correct it there");
  }

  /** Full name of the key nearest to what was written. */
  static String nearest(String written) {
    Map<String, String> fullNameOf = new TreeMap<>();
    for (ConfigKey key : ALL) {
      fullNameOf.put(key.fullName(), key.fullName());
      fullNameOf.putIfAbsent(key.name(), key.fullName());
      key.alsoKnownAs().forEach(name -> fullNameOf.put(name, key.fullName()));
    }
    // A wrong section must not hide a right name.
    String bare = written.substring(written.lastIndexOf('.') + 1);
    String nearestBare = NearestName.of(bare, fullNameOf.keySet());
    String nearestFull = NearestName.of(written, fullNameOf.keySet());
    boolean bareIsNearer =
        NearestName.distance(bare, nearestBare) < NearestName.distance(written, nearestFull);
    return fullNameOf.get(bareIsNearer ? nearestBare : nearestFull);
  }

  private static List<ConfigKey> all(Table table) {
    table.section = "model";
    table.integer(
        "vocab_size",
        null,
        "Token ids; taken from the dataset's tokenizer unless a file, Spark conf or --set gives"
            + " it.");
    table.integer("hidden_size", null, "Model width.", "d_model", "dim", "n_embd");
    table.integer(
        "num_hidden_layers",
        null,
        "Decoder layers, MTP modules not counted.",
        "n_layers",
        "num_layers");
    table.integer(
        "first_k_dense_replace",
        1,
        "How many of the first layers, MTP modules counted last, have a dense FFN instead of experts.",
        "n_dense_layers");
    table.integer("num_attention_heads", null, "Attention heads.", "n_heads");
    table.integer(
        "q_lora_rank", 0, "Width of the query bottleneck; 0 (or null) = a full-rank query.");
    table.integer("kv_lora_rank", null, "Width of the compressed key/value vector.");
    table.integer("qk_nope_head_dim", null, "Query/key channels of a head without position.");
    table.integer(
        "qk_rope_head_dim", null, "Query/key channels of a head with rotary position; even.");
    table.integer("v_head_dim", null, "Value channels of a head.");
    table.integer("intermediate_size", null, "Width of a dense FFN.");
    table.integer("moe_intermediate_size", null, "Width of one expert.", "expert_width");
    table.integer("n_routed_experts", null, "Routed experts of an MoE layer.", "num_experts");
    table.integer("num_experts_per_tok", null, "Experts that a token is sent to.", "top_k", "topk");
    table.integer("n_group", 1, "Groups of experts.", "num_expert_groups");
    table.integer("topk_group", 1, "Groups that a token may use.", "num_limited_groups");
    table.integer("n_shared_experts", 1, "Experts that every token uses; 0 = none.");
    table.number("routed_scaling_factor", 1.0, "Factor of the routing weights.", "route_scale");
    table.bool(
        "norm_topk_prob",
        true,
        "Whether the weights of a token's experts sum to one before that factor.");
    table.number("rms_norm_eps", 1e-6, "Epsilon of every RMS norm.");
    table.number("rope_theta", 10_000.0, "Base of the rotary angles.");
    table.add(
        "rope_parameters",
        Kind.GROUP,
        List.of(),
        JSON.nullNode(),
        "YaRN scaling {rope_type: yarn, factor, beta_fast, beta_slow, mscale, mscale_all_dim,"
            + " original_max_position_embeddings}; null = none. rope_scaling is read too.");
    table.integer(
        "max_position_embeddings", 4096, "Longest sequence that the model is meant for, tokens.");
    table.integer(
        "num_nextn_predict_layers",
        0,
        "MTP modules, each predicting one token further.",
        "mtp_depth",
        "num_mtp_modules");
    table.choice(
        "mtp_hidden",
        "post_norm",
        "Whether an MTP module reads the hidden state after or before the final norm.",
        "post_norm",
        "pre_norm");
    table.number(
        "initializer_range", 0.02, "Standard deviation of the initial matrices.", "init_std");

    table.section = "train";
    table.integer(
        "steps", 300, "Optimizer steps of the whole run.", "max_steps", "num_steps", "iterations");
    table.integer(
        "batch_sequences",
        16,
        "Sequences of one step, over all executors.",
        "batch_size",
        "batch",
        "global_batch_size");
    table.integer(
        "seq_len", 256, "Tokens of a sequence.", "max_seq_len", "block_size", "context_length");
    table.integer(
        "micro_batch_sequences",
        0,
        "Sequences of one forward pass on one executor; 0 = all of its share.",
        "micro_batch_size");
    table.number("lr", 4e-3, "Peak learning rate.", "learning_rate");
    table.number(
        "min_lr", null, "Learning rate that cosine and wsd end at; a tenth of lr unless given.");
    table.integer("warmup_steps", 50, "Steps of linear warm-up.", "warmup");
    table.choice(
        "schedule",
        "cosine",
        "Course of the learning rate after the warm-up.",
        "constant",
        "cosine",
        "wsd");
    table.number("weight_decay", 0.1, "Decoupled decay of matrices.");
    table.number("beta1", 0.9, "Decay of AdamW's first moment.", "adam_beta1");
    table.number("beta2", 0.95, "Decay of AdamW's second moment.", "adam_beta2");
    table.number("eps", 1e-8, "AdamW's epsilon.", "adam_epsilon");
    table.number(
        "clip_norm",
        1.0,
        "Largest global gradient norm; 0 = no clipping.",
        "max_grad_norm",
        "grad_clip");
    table.number("mtp_loss_weight", 0.3, "Weight of the MTP loss, shared by the modules.");
    table.number(
        "balance_loss_alpha",
        1e-4,
        "Factor of the sequence-wise balance loss; 0 = none.",
        "aux_loss_alpha");
    table.number("bias_update_rate", 0.003, "Step of the experts' selection bias.");
    table.add(
        "seed",
        Kind.LONG,
        List.of(),
        JSON.numberNode(1),
        "Seed of the initial weights and of the row order.",
        "random_seed");
    table.choice("precision", "fp32", "Number format of the linear layers' inputs.", "fp32", "fp8");
    table.choice(
        "fp8_recipe",
        "deepseek",
        "What precision fp8 rounds how. For experiments: one scale per tensor, E5M2 gradients,"
            + " 128x128 blocks of activations, BF16 master weights.",
        "deepseek",
        "per_tensor",
        "e5m2_gradients",
        "block_activations",
        "bf16_master");
    table.integer(
        "fp8_stats_every",
        0,
        "Steps between counts of underflow, saturation and largest magnitude in metrics.jsonl;"
            + " 0 = never.");
    table.choice(
        "recompute",
        "none",
        "What a backward computes again instead of having kept it; layer = decoder layers.",
        "none",
        "layer");
    table.integer(
        "eval_every", 100, "Steps between evaluations; 0 = only at the end.", "eval_interval");
    table.integer(
        "eval_rows", 128, "Validation rows of an evaluation before the last step's; 0 = all.");
    table.integer(
        "checkpoint_every",
        100,
        "Steps between checkpoints; 0 = only at the end.",
        "save_interval",
        "save_steps");
    table.integer("keep_checkpoints", 2, "Newest checkpoints that are kept, at least 2.");

    table.section = "cluster";
    table.choice(
        "gate_placement",
        "driver",
        "Where the gating networks are evaluated.",
        "driver",
        "executor");
    table.choice(
        "gradient_wire",
        "fp8",
        "Format of replicated gradients between executors.",
        "fp32",
        "bf16",
        "fp8");
    table.choice(
        "dispatch_wire", "fp8", "Format of hidden states to the experts.", "fp32", "bf16", "fp8");
    table.choice("combine_wire", "bf16", "Format of expert outputs back.", "fp32", "bf16");
    table.integer(
        "deadline_seconds", 120, "Longest wait for another executor, seconds.", "timeout");
    table.integer(
        "checkpoint_deadline_seconds",
        1800,
        "Longest that an executor or the driver may read or write a checkpoint, seconds.");
    table.integer(
        "gradient_check_every",
        0,
        "Steps between comparisons of a lossy gradient wire with an FP32 sum; 0 = never.");
    table.choice(
        "gemm_backend",
        "auto",
        "Matrix library of all ranks; auto = oneDNN, unless the driver measures another as clearly faster on the run's precision; onednn-f32 never multiplies BF16.",
        "auto",
        "onednn",
        "onednn-f32",
        "openblas",
        "reference");

    table.section = "distill";
    table.choice(
        "loss",
        "bucket",
        "What `moe distill` trains towards: the teacher's text alone, its stored top-k with one"
            + " bucket for all other tokens or with none, or a KL divergence (forward_kl needs all"
            + " of the vocabulary stored).",
        "cross_entropy",
        "bucket",
        "zero_tail",
        "forward_kl",
        "reverse_kl");
    table.number(
        "temperature",
        1.0,
        "Temperature of teacher and student in the loss, which is multiplied by its square.");
    table.number(
        "cross_entropy_weight",
        0.0,
        "Share of plain next-token cross-entropy in the loss, 0 to 1.",
        "ce_weight",
        "alpha");
    table.bool("mask_prompt", true, "Whether prompts are left out of the loss.");
    return List.copyOf(table.keys);
  }

  /** Builds the list line by line. */
  private static final class Table {
    private final List<ConfigKey> keys = new ArrayList<>();
    private String section;

    void add(
        String name,
        Kind kind,
        List<String> choices,
        JsonNode defaultValue,
        String description,
        String... aliases) {
      keys.add(
          new ConfigKey(section, name, kind, choices, defaultValue, description, List.of(aliases)));
    }

    void integer(String name, Integer defaultValue, String description, String... aliases) {
      JsonNode value = defaultValue == null ? null : JSON.numberNode(defaultValue);
      add(name, Kind.INTEGER, List.of(), value, description, aliases);
    }

    void number(String name, Double defaultValue, String description, String... aliases) {
      JsonNode value = defaultValue == null ? null : JSON.numberNode(defaultValue);
      add(name, Kind.NUMBER, List.of(), value, description, aliases);
    }

    void bool(String name, boolean defaultValue, String description) {
      add(name, Kind.BOOLEAN, List.of(), JSON.booleanNode(defaultValue), description);
    }

    void choice(String name, String defaultValue, String description, String... choices) {
      add(name, Kind.CHOICE, List.of(choices), JSON.textNode(defaultValue), description);
    }
  }
}
