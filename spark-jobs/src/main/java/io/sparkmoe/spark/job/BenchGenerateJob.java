package io.sparkmoe.spark.job;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.data.ByteTokenizer;
import io.sparkmoe.infer.GenerationListener;
import io.sparkmoe.infer.GenerationRequest;
import io.sparkmoe.infer.GenerationSpeed;
import io.sparkmoe.infer.LatentCache;
import io.sparkmoe.infer.ParameterWeights;
import io.sparkmoe.infer.SamplingOptions;
import io.sparkmoe.infer.TextGenerator;
import io.sparkmoe.kernel.GemmBackends;
import io.sparkmoe.kernel.PanelMatrix;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.parallel.ExpertPlacement;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.SplittableRandom;

/**
 * {@code moe bench generate}: writing speed with random weights, greedy, the same work as
 * transformers' {@code generate} with its cache; and prefill speed on longer prompts, whose last
 * token alone passes the head.
 */
public final class BenchGenerateJob {

  private static final ObjectMapper JSON = new ObjectMapper();

  private static final long SEED = 1;

  /** A matrix of 256 MiB, more than the caches hold. */
  private static final int BANDWIDTH_OUTPUTS = 1 << 18;

  private static final int BANDWIDTH_INPUTS = 256;

  private static final int BANDWIDTH_RUNS = 10;

  private final BenchGenerateOptions options;
  private final PrintStream out;
  private final PrintStream err;

  public BenchGenerateJob(BenchGenerateOptions options, PrintStream out, PrintStream err) {
    this.options = options;
    this.out = out;
    this.err = err;
  }

  /** Prints one JSON object on its last line. */
  public void run() throws IOException {
    ModelConfig config = options.config().toRunConfig().model();
    try (LoadedModel loaded = load(config)) {
      TextGenerator generator = new TextGenerator(loaded.model(), new ByteTokenizer(), Set.of());
      double decode = 0;
      double prefill = 0;
      double bytesPerToken = 0;
      for (int run = 1; run <= options.repeats(); run++) {
        long prompts = bytesOf(loaded, () -> write(generator, config, options.prompt(), 1));
        long start = loaded.model().weightBytesRead();
        GenerationSpeed speed = write(generator, config, options.prompt(), options.maxTokens());
        bytesPerToken =
            (double) (loaded.model().weightBytesRead() - start - prompts) / speed.writtenTokens();
        double fed = write(generator, config, options.prefill(), 1).prefillTokensPerSecond();
        decode = Math.max(decode, speed.tokensPerSecond());
        prefill = Math.max(prefill, fed);
        err.printf(
            Locale.ROOT,
            "run %d: %.1f tokens/s, prefill %.0f tokens/s%n",
            run,
            speed.tokensPerSecond(),
            fed);
      }
      out.println(JSON.writeValueAsString(report(loaded, decode, prefill, bytesPerToken)));
    }
  }

  private LoadedModel load(ModelConfig config) throws IOException {
    EnumSet<Part> parts = EnumSet.allOf(Part.class);
    try (Arena arena =
            new Arena("random weights", Parameters.numElements(config, parts) * 5L + (1 << 20));
        Parameters parameters =
            Parameters.allocate(
                config,
                new ExpertPlacement(config.numRoutedExperts(), 1),
                0,
                parts,
                DType.F32,
                false,
                arena)) {
      parameters.initialize(SEED);
      int longest = Math.max(options.prompt() + options.maxTokens(), options.prefill() + 1);
      long cacheBytes = options.batch() * LatentCache.sizeBytes(config, longest);
      return LoadedModel.load(
          new ParameterWeights(parameters),
          options.weights(),
          GemmBackends.AUTO,
          options.threads(),
          new LoadedModel.Caches(cacheBytes, cacheBytes, "lower --batch or --max-tokens"));
    }
  }

  private static long bytesOf(LoadedModel loaded, Runnable work) {
    long before = loaded.model().weightBytesRead();
    work.run();
    return loaded.model().weightBytesRead() - before;
  }

  /** Writes texts after random prompts, always the same ones. */
  private GenerationSpeed write(
      TextGenerator generator, ModelConfig config, int promptTokens, int maxTokens) {
    SplittableRandom random = new SplittableRandom(SEED);
    List<GenerationRequest> requests = new ArrayList<>();
    for (int i = 0; i < options.batch(); i++) {
      int[] prompt = random.ints(promptTokens, 0, config.vocabSize()).toArray();
      requests.add(new GenerationRequest(prompt, maxTokens, SamplingOptions.GREEDY, List.of()));
    }
    return generator.generate(requests, options.batch(), GenerationListener.NONE).speed();
  }

  private ObjectNode report(
      LoadedModel loaded, double tokensPerSecond, double prefill, double bytesPerToken) {
    double bandwidth = bandwidth(loaded);
    ObjectNode report = JSON.createObjectNode();
    report.put("tokensPerSecond", tokensPerSecond);
    report.put("prefillTokensPerSecond", prefill);
    report.put("weights", options.weights().name().toLowerCase(Locale.ROOT));
    report.put("batch", options.batch());
    report.put("prompt", options.prompt());
    report.put("maxTokens", options.maxTokens());
    report.put("prefillPrompt", options.prefill());
    report.put("threads", loaded.engine().parallel().threads());
    report.put("bytesPerToken", bytesPerToken);
    report.put("memoryBytesPerSecond", bandwidth);
    report.put("memoryBandwidthShare", tokensPerSecond * bytesPerToken / bandwidth);
    return report;
  }

  /**
   * Bytes of weights a second that all threads together read from memory for a product with one
   * row, the best of a few runs: what no writing of one text can pass.
   */
  private static double bandwidth(LoadedModel loaded) {
    long bytes = (long) BANDWIDTH_OUTPUTS * BANDWIDTH_INPUTS * Float.BYTES;
    try (Arena arena = new Arena("bandwidth", 2 * bytes);
        Scope scope = arena.scope()) {
      PanelMatrix weights =
          PanelMatrix.allocate(DType.F32, 1, BANDWIDTH_OUTPUTS, BANDWIDTH_INPUTS, scope);
      Tensor x = scope.zeros(DType.F32, 1, BANDWIDTH_INPUTS);
      Tensor y = scope.allocate(DType.F32, 1, BANDWIDTH_OUTPUTS);
      double best = 0;
      for (int run = 0; run < BANDWIDTH_RUNS; run++) {
        long start = System.nanoTime();
        loaded.engine().decodeKernels().linear(y, x, weights, false);
        best = Math.max(best, 1e9 * bytes / (System.nanoTime() - start));
      }
      return best;
    }
  }
}
