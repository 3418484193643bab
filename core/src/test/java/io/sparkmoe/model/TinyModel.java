package io.sparkmoe.model;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.layer.ExactLayers;
import io.sparkmoe.layer.Fp8Layers;
import io.sparkmoe.layer.Fp8Recipe;
import io.sparkmoe.layer.Layers;
import io.sparkmoe.moe.DirectDispatcher;
import io.sparkmoe.moe.GateWeights;
import io.sparkmoe.moe.LocalGate;
import io.sparkmoe.moe.RouterConfig;
import io.sparkmoe.moe.TokenDispatcher;
import io.sparkmoe.parallel.Phase;
import io.sparkmoe.parallel.PhaseClock;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.random.RandomGenerator;

/** A whole model on one rank, small enough for tests, with gate, dispatcher and random weights. */
public final class TinyModel implements AutoCloseable {

  private static final long ARENA_BYTES = 1L << 30;

  public final Arena arena = new Arena("test", ARENA_BYTES);
  public final Scope scope = arena.scope();
  public final Kernels kernels;
  public final Layers layers;
  public final Parameters parameters;
  public final LocalGate gate;
  public final TokenDispatcher dispatcher;
  public final LanguageModel model;

  public TinyModel(ModelConfig config, DType type, Kernels kernels) {
    this(config, type, kernels, arena -> new ExactLayers(kernels));
  }

  /** A model in FP8, as a rank that evaluates its own gates has it. */
  public static TinyModel inFp8(ModelConfig config, Kernels kernels) {
    return new TinyModel(
        config, DType.F32, kernels, arena -> new Fp8Layers(kernels, Fp8Recipe.DEEPSEEK, arena));
  }

  private TinyModel(
      ModelConfig config, DType type, Kernels kernels, Function<Arena, Layers> layers) {
    this.kernels = kernels;
    this.layers = layers.apply(arena);
    this.parameters = Parameters.allocateAll(config, type, arena);
    this.gate = gate(parameters, kernels);
    this.dispatcher = new DirectDispatcher(config.numRoutedExperts());
    this.model =
        new LanguageModel(parameters, gate, dispatcher, this.layers, new PhaseClock(Phase.TRUNK));
  }

  /**
   * Eight experts, two of two groups of four; one dense and one MoE layer; changed by Hugging
   * Face's keys.
   */
  public static ModelConfig config(Map<String, ?> changes) {
    Map<String, Object> keys = new HashMap<>();
    keys.put("vocab_size", 13);
    keys.put("hidden_size", 6);
    keys.put("num_hidden_layers", 2);
    keys.put("first_k_dense_replace", 1);
    keys.put("num_attention_heads", 2);
    keys.put("q_lora_rank", 5);
    keys.put("kv_lora_rank", 4);
    keys.put("qk_nope_head_dim", 3);
    keys.put("qk_rope_head_dim", 4);
    keys.put("v_head_dim", 5);
    keys.put("intermediate_size", 7);
    keys.put("moe_intermediate_size", 3);
    keys.put("n_routed_experts", 8);
    keys.put("num_experts_per_tok", 3);
    keys.put("n_group", 4);
    keys.put("topk_group", 2);
    keys.put("n_shared_experts", 1);
    keys.put("routed_scaling_factor", 2.5);
    keys.put("norm_topk_prob", true);
    keys.put("rms_norm_eps", 1e-6);
    keys.put("rope_theta", 10000.0);
    keys.put("max_position_embeddings", 64);
    keys.put("num_nextn_predict_layers", 0);
    keys.put("initializer_range", 0.5);
    keys.putAll(changes);
    return new ObjectMapper().convertValue(keys, ModelConfig.class);
  }

  static LocalGate gate(Parameters parameters, Kernels kernels) {
    ModelConfig config = parameters.config();
    Map<Integer, GateWeights> weights = new TreeMap<>();
    for (int layer = 0; layer < config.numLayers(); layer++) {
      if (config.isMoe(layer)) {
        Parameter weight = parameters.find(Parameters.gateWeightName(layer));
        Tensor bias = parameters.find(Parameters.selectionBiasName(layer)).value();
        weights.put(layer, new GateWeights(weight.value(), weight.gradient(), bias));
      }
    }
    RouterConfig router =
        new RouterConfig(
            config.numExpertsPerTok(),
            config.numGroups(),
            config.topGroups(),
            config.normTopkProb(),
            config.routedScalingFactor(),
            true);
    return new LocalGate(router, weights, kernels);
  }

  /** Draws every weight, norms around one and selection biases around zero. */
  public TinyModel randomise(RandomGenerator random) {
    for (Parameter parameter : parameters.all()) {
      boolean norm = parameter.name().contains("norm");
      for (int i = 0; i < parameter.value().size(); i++) {
        parameter.value().set(i, (norm ? 1 : 0) + 0.3 * random.nextGaussian());
      }
    }
    return this;
  }

  /** Random values, of deviation one. */
  Tensor gaussian(RandomGenerator random, DType type, int... shape) {
    Tensor tensor = scope.allocate(type, shape);
    for (int i = 0; i < tensor.size(); i++) {
      tensor.set(i, random.nextGaussian());
    }
    return tensor;
  }

  /**
   * Random rows of {@code seqLen + 1} tokens as next-token and MTP targets.
   *
   * @param valid inputs of each sequence before its padding
   */
  public TokenBatch batch(RandomGenerator random, int seqLen, int... valid) {
    int vocabulary = parameters.config().vocabSize();
    int[][] rows = new int[valid.length][];
    for (int b = 0; b < valid.length; b++) {
      rows[b] = random.ints(seqLen + 1, 0, vocabulary).toArray();
    }
    return batch(rows, valid, parameters.config().numMtpModules(), scope);
  }

  /** Lays rows of S + 1 tokens out, at least one, targets beyond {@code valid} ignored. */
  public static TokenBatch batch(int[][] rows, int[] valid, int depths, Scope scope) {
    return batch(rows, valid, depths, rows[0].length - 1, scope);
  }

  /** As above with S given, so that there may be no row. */
  static TokenBatch batch(int[][] rows, int[] valid, int depths, int seqLen, Scope scope) {
    Tensor inputs = scope.allocate(DType.I32, rows.length, seqLen);
    Tensor validTensor = scope.allocate(DType.I32, rows.length);
    List<Tensor> targets = new ArrayList<>();
    for (int depth = 0; depth <= depths; depth++) {
      targets.add(scope.allocate(DType.I32, rows.length, seqLen - depth));
    }
    for (int b = 0; b < rows.length; b++) {
      validTensor.setInt(b, valid[b]);
      for (int i = 0; i < seqLen; i++) {
        inputs.setInt(b * seqLen + i, rows[b][i]);
        for (int depth = 0; depth <= depths && i + depth < seqLen; depth++) {
          int target = i + depth < valid[b] ? rows[b][i + depth + 1] : -1;
          targets.get(depth).setInt(b * (seqLen - depth) + i, target);
        }
      }
    }
    return new TokenBatch(
        inputs, targets.get(0), List.copyOf(targets.subList(1, targets.size())), validTensor);
  }

  @Override
  public void close() {
    scope.close();
    layers.close();
    parameters.close();
    arena.close();
  }
}
