package io.sparkmoe.spark.job;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.data.TokenRow;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.infer.GenerationListener;
import io.sparkmoe.infer.GenerationRequest;
import io.sparkmoe.infer.HeldOutLoss;
import io.sparkmoe.infer.TextGenerator;
import io.sparkmoe.infer.WeightFormat;
import io.sparkmoe.spark.data.HadoopSettings;
import io.sparkmoe.spark.data.TokenDataset;
import java.io.IOException;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;

/**
 * {@code moe bench speculative}: how fast a trained model continues held-out text with and without
 * drafting, how often its drafts are accepted, and its loss on the held-out text, for each format
 * of its weights.
 */
public final class BenchSpeculativeJob {

  private static final ObjectMapper JSON = new ObjectMapper();

  private final BenchSpeculativeOptions options;
  private final PrintStream out;
  private final PrintStream err;

  public BenchSpeculativeJob(BenchSpeculativeOptions options, PrintStream out, PrintStream err) {
    this.options = options;
    this.out = out;
    this.err = err;
  }

  /** Prints one JSON object for each format. */
  public void run() throws IOException {
    Configuration hadoop = HadoopSettings.current();
    TokenDataset dataset = TokenDataset.open(options.data(), hadoop);
    List<TokenRow> rows = dataset.readLocally(TokenDataset.VALIDATION);
    List<GenerationRequest> requests = requests(rows, dataset.location());
    for (WeightFormat format : options.weights()) {
      try (ModelFolder folder = ModelFolder.open(options.checkpoint(), hadoop);
          Tokenizer tokenizer = folder.openTokenizer()) {
        requireTokenizer(tokenizer, dataset);
        try (LoadedModel loaded =
            LoadedModel.load(
                folder.weights(),
                format,
                folder.gemmBackend(),
                options.threads(),
                LoadedModel.Caches.of(
                    folder.model(),
                    requests,
                    options.batch(),
                    "lower --batch or --prompt-tokens"))) {
          out.println(
              JSON.writeValueAsString(
                  measure(loaded, format, tokenizer, folder.endIds(tokenizer), requests, rows)));
        }
      }
    }
  }

  private static void requireTokenizer(Tokenizer tokenizer, TokenDataset dataset) {
    String expected = dataset.info().tokenizerSha256();
    if (!tokenizer.sha256().equals(expected)) {
      throw new IllegalArgumentException(
          "another tokenizer: the model's has the SHA-256 "
              + tokenizer.sha256()
              + ", expected that of dataset "
              + dataset.location()
              + ", "
              + expected
              + "; prepare the data with the model's tokenizer.json");
    }
  }

  private List<GenerationRequest> requests(List<TokenRow> rows, String dataset) {
    List<GenerationRequest> requests = new ArrayList<>();
    for (TokenRow row : rows) {
      if (row.numTokens() >= options.promptTokens() && requests.size() < options.prompts()) {
        requests.add(
            new GenerationRequest(
                Arrays.copyOf(row.tokens(), options.promptTokens()),
                options.maxTokens(),
                options.sampling().withSeed(options.sampling().seed() + requests.size()),
                List.of()));
      }
    }
    if (requests.size() < options.prompts()) {
      throw new IllegalArgumentException(
          "too few prompts: dataset "
              + dataset
              + " has "
              + requests.size()
              + " validation rows of at least "
              + options.promptTokens()
              + " tokens, expected "
              + options.prompts()
              + "; lower --prompts or --prompt-tokens");
    }
    return requests;
  }

  private ObjectNode measure(
      LoadedModel loaded,
      WeightFormat format,
      Tokenizer tokenizer,
      Set<Integer> endIds,
      List<GenerationRequest> requests,
      List<TokenRow> rows) {
    boolean drafting = loaded.model().config().numMtpModules() > 0;
    if (!drafting) {
      err.println("note: speculative decoding is off: the model has no MTP module to draft with");
    }
    TextGenerator plain = new TextGenerator(loaded.model(), tokenizer, endIds, false);
    TextGenerator speculative = new TextGenerator(loaded.model(), tokenizer, endIds, drafting);
    Best without = new Best();
    Best with = new Best();
    for (int run = 1; run <= options.repeats(); run++) {
      without.keep(plain.generate(requests, options.batch(), GenerationListener.NONE));
      err.printf(Locale.ROOT, "%s, run %d: %.0f tokens/s", name(format), run, without.latest);
      if (drafting) {
        with.keep(speculative.generate(requests, options.batch(), GenerationListener.NONE));
        err.printf(Locale.ROOT, ", with drafts %.0f", with.latest);
      }
      err.println();
    }
    ObjectNode report = JSON.createObjectNode();
    report.put("weights", name(format));
    List<TokenRow> heldOut = rows.subList(0, Math.min(rows.size(), options.lossRows()));
    report.put("validationLoss", HeldOutLoss.mean(loaded.model(), heldOut));
    report.put("tokensPerSecond", without.tokensPerSecond);
    if (drafting) {
      report.put("speculativeTokensPerSecond", with.tokensPerSecond);
      report.put("speedUp", with.tokensPerSecond / without.tokensPerSecond);
      report.put("draftAcceptance", with.result.speed().draftAcceptance());
      report.put("sameTokens", sameTokens(without.result, with.result));
    }
    report.put("prompts", requests.size());
    report.put("maxTokens", options.maxTokens());
    report.put("writtenTokens", without.result.speed().writtenTokens());
    report.put("batch", options.batch());
    report.put("threads", loaded.engine().parallel().threads());
    return report;
  }

  private static String name(WeightFormat format) {
    return format.name().toLowerCase(Locale.ROOT);
  }

  /** The fastest of several runs, which all write the same. */
  private static final class Best {
    private TextGenerator.Result result;
    private double latest;
    private double tokensPerSecond;

    void keep(TextGenerator.Result next) {
      result = next;
      latest = next.speed().tokensPerSecond();
      tokensPerSecond = Math.max(tokensPerSecond, latest);
    }
  }

  private static boolean sameTokens(TextGenerator.Result a, TextGenerator.Result b) {
    boolean same = true;
    for (int i = 0; i < a.texts().size(); i++) {
      same &= Arrays.equals(a.texts().get(i).tokenIds(), b.texts().get(i).tokenIds());
    }
    return same;
  }
}
