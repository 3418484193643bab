package io.sparkmoe.train;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.data.InMemoryRowSource;
import io.sparkmoe.data.RowOrder;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.io.LocalStore;
import io.sparkmoe.io.Store;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.parallel.ClusterConfig;
import io.sparkmoe.parallel.ClusterConfig.GatePlacement;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.train.CoordinatorSettings.Resume;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/** A training run of a tiny model on made-up text, for tests: 37 rows with a learnable pattern. */
final class TinyRun {

  static final int SEQ_LEN = 12;
  static final int VOCAB = 29;
  private static final long MEMORY = 256L << 20;

  private final Map<String, Object> train =
      new HashMap<>(
          Map.of(
              "steps",
              20,
              "batch_sequences",
              7,
              "seq_len",
              SEQ_LEN,
              "micro_batch_sequences",
              2,
              "lr",
              3e-3,
              "beta1",
              0.9,
              "beta2",
              0.95,
              "eps",
              1e-8,
              "weight_decay",
              0.1));
  private ModelConfig model = model();
  private ClusterConfig cluster =
      ClusterConfig.defaults()
          .withGemmBackend("openblas")
          .withWires(Wire.FP32, Wire.FP32, Wire.FP32)
          .withGatePlacement(GatePlacement.EXECUTOR);
  private List<TokenRow> rows = rows(37, 1);
  private List<TokenRow> validation = rows(5, 2);
  private DistillConfig distill = DistillConfig.defaults();
  private int ranks = 1;
  private int threads = 1;
  private Store store;
  private DataIdentity data = DataIdentity.UNKNOWN;
  private Resume resume = Resume.auto();
  private RunListener listener = new RunListener() {};

  TinyRun() {
    train.putAll(
        Map.of(
            "schedule",
            "COSINE",
            "precision",
            "FP32",
            "keep_checkpoints",
            2,
            "seed",
            11,
            "clip_norm",
            1.0,
            "mtp_loss_weight",
            0.3,
            "balance_loss_alpha",
            1e-3,
            "bias_update_rate",
            1e-3,
            "warmup_steps",
            3));
  }

  /** Another size of the model. */
  TinyRun model(String key, int value) {
    ObjectMapper json = new ObjectMapper();
    ObjectNode shape = json.valueToTree(model);
    shape.put(key, value);
    this.model = json.convertValue(shape, ModelConfig.class);
    return this;
  }

  TinyRun rows(List<TokenRow> others) {
    this.rows = others;
    return this;
  }

  /** The same rows, cut or padded to so many inputs. */
  TinyRun seqLen(int seqLen) {
    this.rows = cut(rows, seqLen);
    this.validation = cut(validation, seqLen);
    return with("seq_len", seqLen);
  }

  TinyRun data(DataIdentity other) {
    this.data = other;
    return this;
  }

  TinyRun distill(DistillConfig other) {
    this.distill = other;
    return this;
  }

  TinyRun with(String key, Object value) {
    train.put(key, value);
    return this;
  }

  TinyRun ranks(int ranks) {
    this.ranks = ranks;
    return this;
  }

  TinyRun threads(int threads) {
    this.threads = threads;
    return this;
  }

  TinyRun in(Path folder) throws IOException {
    return in(new LocalStore(folder));
  }

  TinyRun in(Store store) {
    this.store = store;
    return this;
  }

  TinyRun deadlines(int seconds, int checkpointSeconds) {
    this.cluster = cluster.withDeadlines(seconds, checkpointSeconds);
    return this;
  }

  TinyRun resume(Resume resume) {
    this.resume = resume;
    return this;
  }

  TinyRun gate(GatePlacement placement) {
    this.cluster = cluster.withGatePlacement(placement);
    return this;
  }

  TinyRun wires(Wire gradients, Wire dispatch, Wire combine) {
    this.cluster = cluster.withWires(gradients, dispatch, combine);
    return this;
  }

  TinyRun gemm(String backend) {
    this.cluster = cluster.withGemmBackend(backend);
    return this;
  }

  TinyRun checkGradientsEvery(int steps) {
    this.cluster = cluster.withGradientCheckEvery(steps);
    return this;
  }

  TinyRun listener(RunListener listener) {
    this.listener = listener;
    return this;
  }

  RunConfig config() {
    return new RunConfig(
        model, new ObjectMapper().convertValue(train, TrainConfig.class), cluster, distill);
  }

  RunResult run() throws IOException {
    RunConfig config = config();
    RowOrder order =
        new RowOrder(rows.size(), config.train().batchSequences(), config.train().seed());
    return LocalTraining.run(
        config,
        ranks,
        rank ->
            new WorkerSettings(
                new InMemoryRowSource(rows, order, rank, ranks),
                validation,
                store,
                threads,
                MEMORY),
        new CoordinatorSettings(store, resume, data, validation.size(), 1, MEMORY),
        listener);
  }

  static ModelConfig model() {
    Map<String, Object> model =
        new HashMap<>(
            Map.of(
                "vocab_size",
                VOCAB,
                "hidden_size",
                16,
                "num_hidden_layers",
                2,
                "first_k_dense_replace",
                1,
                "num_attention_heads",
                2,
                "q_lora_rank",
                6,
                "kv_lora_rank",
                4,
                "qk_nope_head_dim",
                4,
                "qk_rope_head_dim",
                4,
                "v_head_dim",
                4));
    model.putAll(
        Map.of(
            "intermediate_size",
            24,
            "moe_intermediate_size",
            8,
            "n_routed_experts",
            10,
            "num_experts_per_tok",
            3,
            "n_group",
            5,
            "topk_group",
            2,
            "n_shared_experts",
            1,
            "routed_scaling_factor",
            2.5,
            "norm_topk_prob",
            true,
            "rms_norm_eps",
            1e-6));
    model.putAll(
        Map.of(
            "rope_theta",
            10000.0,
            "max_position_embeddings",
            SEQ_LEN,
            "num_nextn_predict_layers",
            1,
            "initializer_range",
            0.05));
    return new ObjectMapper().convertValue(model, ModelConfig.class);
  }

  static List<TokenRow> rows(int count, long seed) {
    Random random = new Random(seed);
    List<TokenRow> rows = new ArrayList<>();
    for (int id = 0; id < count; id++) {
      int[] tokens = new int[SEQ_LEN + 1];
      int stride = 1 + random.nextInt(4);
      tokens[0] = random.nextInt(VOCAB);
      for (int i = 1; i < tokens.length; i++) {
        tokens[i] = (tokens[i - 1] + stride) % VOCAB;
      }
      boolean padded = id == count - 1;
      int numTokens = padded ? SEQ_LEN / 2 : tokens.length;
      rows.add(new TokenRow(id, tokens, new int[] {0, 5}, numTokens, "stride " + stride));
    }
    return rows;
  }

  static List<TokenRow> cut(List<TokenRow> rows, int seqLen) {
    int length = seqLen + 1;
    return rows.stream()
        .map(
            row ->
                new TokenRow(
                    row.rowId(),
                    Arrays.copyOf(row.tokens(), length),
                    Arrays.stream(row.docStarts()).filter(start -> start < length).toArray(),
                    Math.min(row.numTokens(), length),
                    row.source()))
        .toList();
  }
}
