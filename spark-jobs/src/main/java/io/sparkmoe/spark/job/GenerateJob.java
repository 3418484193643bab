package io.sparkmoe.spark.job;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sparkmoe.data.TokenIds;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.infer.Generation;
import io.sparkmoe.infer.GenerationListener;
import io.sparkmoe.infer.GenerationRequest;
import io.sparkmoe.infer.GenerationSpeed;
import io.sparkmoe.infer.TextGenerator;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.spark.data.HadoopSettings;
import java.io.IOException;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** {@code moe generate}: continues prompts with a trained model, in this process. */
public final class GenerateJob {

  private static final ObjectMapper JSON = new ObjectMapper();

  private final GenerateOptions options;
  private final PrintStream out;
  private final PrintStream err;

  public GenerateJob(GenerateOptions options, PrintStream out, PrintStream err) {
    this.options = options;
    this.out = out;
    this.err = err;
  }

  /** Prints the texts, or one JSON object for each. */
  public void run() throws IOException {
    try (ModelFolder folder = ModelFolder.open(options.checkpoint(), HadoopSettings.current());
        Tokenizer tokenizer = folder.openTokenizer()) {
      folder.notes().forEach(note -> err.println("note: " + note));
      // Everything that can be refused is, before the weights are read.
      TextGenerator.requireVocabulary(folder.model(), tokenizer);
      List<GenerationRequest> requests = requests(tokenizer, folder);
      try (LoadedModel loaded =
          LoadedModel.load(
              folder.weights(),
              options.weights(),
              folder.gemmBackend(),
              options.threads(),
              LoadedModel.Caches.of(
                  folder.model(), requests, options.batch(), "lower --batch or --max-tokens"))) {
        TextGenerator generator =
            new TextGenerator(
                loaded.model(), tokenizer, folder.endIds(tokenizer), speculative(folder.model()));
        TextGenerator.Result result =
            generator.generate(requests, options.batch(), listener(requests.size()));
        print(result);
      }
    }
  }

  private boolean speculative(ModelConfig model) {
    boolean drafting = options.speculative() && model.numMtpModules() > 0;
    if (options.speculative() && !drafting) {
      err.println("note: speculative decoding is off: the model has no MTP module to draft with");
    }
    return drafting;
  }

  private List<GenerationRequest> requests(Tokenizer tokenizer, ModelFolder folder)
      throws IOException {
    ModelConfig model = folder.model();
    int[] begin = folder.beginIds();
    List<GenerationRequest> requests = new ArrayList<>();
    for (int i = 0; i < options.prompts().size(); i++) {
      int[] ids = TokenIds.concat(begin, tokenizer.encode(options.prompts().get(i)));
      int maxTokens = options.maxTokens();
      if (maxTokens == 0) {
        int room = model.maxPositionEmbeddings() - ids.length;
        maxTokens = Math.max(1, Math.min(GenerateOptions.DEFAULT_MAX_TOKENS, room));
      }
      GenerationRequest request =
          new GenerationRequest(
              ids,
              maxTokens,
              options.sampling().withSeed(options.sampling().seed() + i),
              options.stops());
      request.requireContext(model.maxPositionEmbeddings());
      requests.add(request);
    }
    return requests;
  }

  /** One text is shown while it is written; several would run into each other. */
  private GenerationListener listener(int texts) {
    if (options.json() || texts > 1) {
      return GenerationListener.NONE;
    }
    return (request, piece) -> {
      out.print(piece);
      out.flush();
    };
  }

  private void print(TextGenerator.Result result) throws IOException {
    GenerationSpeed speed = result.speed();
    for (int i = 0; i < result.texts().size(); i++) {
      Generation text = result.texts().get(i);
      if (options.json()) {
        out.println(JSON.writeValueAsString(report(text, speed)));
      } else if (result.texts().size() > 1) {
        out.println("--- " + (i + 1) + ": " + options.prompts().get(i) + text.text());
      } else {
        out.println();
      }
    }
    if (!options.json()) {
      err.printf(
          Locale.ROOT,
          "%d tokens, %.0f tokens/s%s; prompt of %d tokens, %.0f tokens/s%n",
          result.texts().stream().mapToInt(text -> text.tokenIds().length).sum(),
          speed.tokensPerSecond(),
          Double.isNaN(speed.draftAcceptance())
              ? ""
              : String.format(
                  Locale.ROOT, ", %.0f %% of drafts accepted", 100 * speed.draftAcceptance()),
          speed.promptTokens(),
          speed.prefillTokensPerSecond());
    }
  }

  private static ObjectNode report(Generation text, GenerationSpeed speed) {
    ObjectNode report = JSON.createObjectNode();
    report.put("text", text.text());
    report.set("promptIds", JSON.valueToTree(text.promptIds()));
    report.set("tokenIds", JSON.valueToTree(text.tokenIds()));
    report.set("logProbabilities", JSON.valueToTree(text.logProbabilities()));
    report.put("tokensPerSecond", speed.tokensPerSecond());
    report.put("prefillTokensPerSecond", speed.prefillTokensPerSecond());
    if (Double.isNaN(speed.draftAcceptance())) {
      report.putNull("draftAcceptance");
    } else {
      report.put("draftAcceptance", speed.draftAcceptance());
    }
    report.put("finishReason", text.finishReason().text());
    return report;
  }
}
