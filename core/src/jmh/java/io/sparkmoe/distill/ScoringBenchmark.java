package io.sparkmoe.distill;

import io.sparkmoe.infer.Append;
import io.sparkmoe.infer.InferenceModel;
import io.sparkmoe.infer.InferenceModel.Logits;
import io.sparkmoe.infer.LatentCache;
import io.sparkmoe.infer.ParameterWeights;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.model.LanguageModel;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.TinyModel;
import io.sparkmoe.model.TokenBatch;
import io.sparkmoe.moe.ExchangeDispatcher;
import io.sparkmoe.moe.GateWeights;
import io.sparkmoe.moe.LocalGate;
import io.sparkmoe.moe.RouterConfig;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.parallel.LocalCommunicator;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What does a teacher's judging of text cost beside the plain forward pass? Tokens per second of the training model's
 * forward with its loss, of the inference model's forward, and of that with the ranking of the top-k, on the shape of
 * bench-small. Run with
 *
 * <pre>mvn -pl core -Pbenchmarks test-compile exec:exec -Dbenchmark=ScoringBenchmark</pre>
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.Throughput)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 2, time = 4)
@Measurement(iterations = 3, time = 4)
@Fork(1)
public class ScoringBenchmark {

  private static final int B = 8;
  private static final int S = 256;

  /** Alternatives to keep. */
  @Param("8")
  public int topK;

  /** Compute threads. */
  @Param("2")
  public int threads;

  private Arena arena;
  private io.sparkmoe.tensor.Scope tensors;
  private ComputeEngine engine;
  private LocalCommunicator.Group alone;
  private Parameters parameters;
  private LanguageModel training;
  private TokenBatch batch;
  private InferenceModel model;
  private TokenScorer scorer;
  private List<GivenText> texts;

  @Setup(Level.Trial)
  public void load() throws IOException {
    ModelConfig config =
        TinyModel.config(
            Map.ofEntries(
                Map.entry("vocab_size", 8192),
                Map.entry("hidden_size", 256),
                Map.entry("num_hidden_layers", 4),
                Map.entry("num_attention_heads", 4),
                Map.entry("q_lora_rank", 96),
                Map.entry("kv_lora_rank", 64),
                Map.entry("qk_nope_head_dim", 32),
                Map.entry("qk_rope_head_dim", 16),
                Map.entry("v_head_dim", 32),
                Map.entry("intermediate_size", 1024),
                Map.entry("moe_intermediate_size", 128),
                Map.entry("n_routed_experts", 256),
                Map.entry("num_experts_per_tok", 8),
                Map.entry("n_group", 8),
                Map.entry("topk_group", 4),
                Map.entry("max_position_embeddings", S),
                Map.entry("initializer_range", 0.02)));
    arena = new Arena("benchmark", 4L << 30);
    tensors = arena.scope();
    engine = ComputeEngine.open("benchmark", "auto", threads);
    alone = LocalCommunicator.group(1, Duration.ofSeconds(1));
    parameters = Parameters.allocateAll(config, DType.F32, arena);
    parameters.initialize(1);
    training = trainingModel(config);
    Random random = new Random(1);
    int[][] rows = new int[B][];
    texts = new ArrayList<>();
    for (int b = 0; b < B; b++) {
      rows[b] = random.ints(S + 1, 0, config.vocabSize()).toArray();
      Prompt window = new Prompt("", null, null, null, rows[b]);
      texts.add(new GivenText(new TeacherRequest("r" + b, window, 1), rows[b], 1));
    }
    int[] valid = new int[B];
    Arrays.fill(valid, S);
    batch = TinyModel.batch(rows, valid, 0, tensors);
    model = InferenceModel.load(new ParameterWeights(parameters), engine, arena);
    scorer = new TokenScorer(model, engine.kernels(), arena, model.config().vocabSize(), topK);
  }

  private LanguageModel trainingModel(ModelConfig config) {
    Kernels kernels = engine.kernels();
    Map<Integer, GateWeights> gates = new TreeMap<>();
    for (int layer = 0; layer < config.numLayers(); layer++) {
      if (config.isMoe(layer)) {
        gates.put(
            layer,
            new GateWeights(
                parameters.weight(Parameters.gateWeightName(layer)).value(),
                null,
                parameters.weight(Parameters.selectionBiasName(layer)).value()));
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
    ExpertPlacement placement = new ExpertPlacement(config.numRoutedExperts(), 1);
    ExchangeDispatcher dispatcher =
        new ExchangeDispatcher(alone.rank(0), placement, kernels, Wire.FP32, Wire.FP32);
    return new LanguageModel(parameters, new LocalGate(router, gates, kernels), dispatcher, kernels);
  }

  @TearDown(Level.Trial)
  public void close() {
    model.close();
    parameters.close();
    tensors.close();
    arena.close();
    engine.close();
  }

  /** The training model's forward with its loss. */
  @Benchmark
  @OperationsPerInvocation(B * S)
  public double trainingForward() {
    return training.evaluate(1, 0, batch, arena).mainSum();
  }

  /** The inference model's forward with all logits. */
  @Benchmark
  @OperationsPerInvocation(B * S)
  public float inferenceForward() {
    List<Append> appends = new ArrayList<>();
    List<LatentCache> caches = new ArrayList<>();
    for (GivenText text : texts) {
      caches.add(model.newCache(S));
      appends.add(new Append(caches.get(caches.size() - 1), Arrays.copyOf(text.ids(), S)));
    }
    float logit = model.forward(appends, Logits.ALL).logits().getFloat(0);
    caches.forEach(LatentCache::close);
    return logit;
  }

  /** That, and the top-k, tail and own log-probability of every token as Java arrays. */
  @Benchmark
  @OperationsPerInvocation(B * S)
  public List<TokenScores> judge() {
    return scorer.score(texts);
  }
}
