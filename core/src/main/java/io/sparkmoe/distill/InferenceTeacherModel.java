package io.sparkmoe.distill;

import io.sparkmoe.checkpoint.WeightSource;
import io.sparkmoe.data.ChatTemplate;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.infer.FinishReason;
import io.sparkmoe.infer.Generation;
import io.sparkmoe.infer.GenerationListener;
import io.sparkmoe.infer.GenerationRequest;
import io.sparkmoe.infer.InferenceModel;
import io.sparkmoe.infer.LatentCache;
import io.sparkmoe.infer.SamplingOptions;
import io.sparkmoe.infer.TextGenerator;
import io.sparkmoe.kernel.ComputeEngine;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.model.Part;
import io.sparkmoe.tensor.Arena;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/** A DeepSeek-V3-style model, of a checkpoint or a Hugging Face folder, as teacher. */
public final class InferenceTeacherModel implements TeacherModel {

  /** Intermediate results. */
  private static final long WORK_BYTES = 1L << 30;

  /** Caches, unless one text of the whole context takes more. */
  private static final long CACHE_BYTES = 1L << 30;

  private final SamplingSettings sampling;
  private final Tokenizer tokenizer;
  private final Set<Integer> endIds;
  private final ComputeEngine engine;
  private final Arena arena;
  private final InferenceModel model;
  private final TextGenerator generator;
  private final TokenScorer scorer;
  private final int[] begin;

  /**
   * Where a model computes.
   *
   * @param gemmBackend matrix library, "auto" = the fastest
   * @param threads to compute with
   */
  public record Compute(String gemmBackend, int threads) {}

  /**
   * Loads the model.
   *
   * @param weights stay the caller's
   * @param tokenizer of the model; stays the caller's
   * @param endIds ids that end an answer
   * @param begin ids that the model reads before every text; they are no part of a row, since a
   *     student has its own
   */
  public InferenceTeacherModel(
      WeightSource weights,
      SamplingSettings sampling,
      Compute compute,
      Tokenizer tokenizer,
      Set<Integer> endIds,
      int... begin)
      throws IOException {
    this.sampling = sampling;
    this.tokenizer = tokenizer;
    this.endIds = Set.copyOf(endIds);
    this.begin = begin.clone();
    this.engine = ComputeEngine.open("teach", compute.gemmBackend(), compute.threads());
    this.arena = new Arena("teacher", offHeapBytes(weights.model()));
    try {
      this.model = InferenceModel.load(weights, engine, arena);
    } catch (IOException | RuntimeException e) {
      arena.close();
      engine.close();
      throw e;
    }
    this.generator = new TextGenerator(model, tokenizer, endIds);
    this.scorer =
        new TokenScorer(model, engine.kernels(), arena, tokenizer.vocabSize(), sampling.topK());
  }

  /** Memory that a model of this shape takes here. */
  public static long offHeapBytes(ModelConfig model) {
    long weightBytes = Parameters.numElements(model, EnumSet.allOf(Part.class)) * Float.BYTES;
    // Size classes and padded panels take up to an eighth more each.
    return weightBytes + weightBytes / 4 + WORK_BYTES + cacheBytes(model);
  }

  private static long cacheBytes(ModelConfig model) {
    return Math.max(CACHE_BYTES, LatentCache.sizeBytes(model, model.maxPositionEmbeddings()));
  }

  /** As many texts at a time as there is memory for the caches of: one always fits. */
  static int batch(ModelConfig model, List<GenerationRequest> requests) {
    int batch = TextGenerator.DEFAULT_BATCH;
    while (batch > 1 && TextGenerator.cacheBytes(model, requests, batch) > cacheBytes(model)) {
      batch--;
    }
    return batch;
  }

  @Override
  public int contextLength() {
    return model.config().maxPositionEmbeddings() - begin.length;
  }

  @Override
  public List<TokenScores> score(List<GivenText> texts) {
    return scorer.score(texts.stream().map(this::read).toList());
  }

  /** A text as the model reads it; a window is tokens from anywhere in a text. */
  private GivenText read(GivenText text) {
    return text.request().prompt().window() == null ? text.after(begin) : text;
  }

  @Override
  public List<WrittenText> write(List<GivenText> prompts) {
    List<GenerationRequest> requests = new ArrayList<>();
    for (GivenText prompt : prompts) {
      SamplingOptions options =
          new SamplingOptions(sampling.temperature(), 0, sampling.topP(), prompt.request().seed());
      List<String> stops =
          prompt.request().prompt().isConversation() ? ChatTemplate.stops() : List.of();
      requests.add(new GenerationRequest(read(prompt).ids(), sampling.maxTokens(), options, stops));
    }
    List<Generation> texts =
        generator
            .generate(requests, batch(model.config(), requests), GenerationListener.NONE)
            .texts();
    List<WrittenText> written = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      written.add(written(prompts.get(i), texts.get(i)));
    }
    return written;
  }

  /**
   * A text that a stop string ended has tokens beyond it; the text's own ids take their place, and
   * are judged where they are no start of what was written.
   */
  private WrittenText written(GivenText prompt, Generation text) {
    int[] ids = text.tokenIds();
    float[] logprobs = text.logProbabilities();
    boolean ended = text.finishReason() == FinishReason.STOP;
    if (!ended || endIds.contains(ids[ids.length - 1])) {
      return new WrittenText(prompt, ids, text.text(), logprobs, ended);
    }
    String said = text.text().stripTrailing();
    int[] own = tokenizer.encode(said);
    if (Arrays.mismatch(own, ids) == own.length) {
      return new WrittenText(prompt, own, said, Arrays.copyOf(logprobs, own.length), true);
    }
    float[] judged = score(List.of(prompt.with(own))).get(0).given();
    return new WrittenText(prompt, own, said, judged, true);
  }

  @Override
  public void close() {
    model.close();
    arena.close();
    engine.close();
  }
}
