package io.sparkmoe.infer;

import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.model.ModelConfig;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.Set;

/**
 * Writes texts with a model: many at once, each with its own prompt, options and end. A text that
 * ends makes room for the next one at once. Not for use by several threads at once.
 */
public final class TextGenerator {

  /** Texts under way at the same time unless the caller says otherwise. */
  public static final int DEFAULT_BATCH = 8;

  private static final double SECONDS_OF_NANO = 1e-9;

  private final InferenceModel model;
  private final Tokenizer tokenizer;
  private final Set<Integer> endIds;
  private final Decoder decoder;

  /**
   * @param tokenizer of the model; stays the caller's, as the model does
   * @param endIds ids that end a text
   * @param speculative whether the model's MTP module drafts tokens, which changes the speed and
   *     not what is written
   * @throws IllegalArgumentException when it has none to draft with
   */
  public TextGenerator(
      InferenceModel model, Tokenizer tokenizer, Set<Integer> endIds, boolean speculative) {
    requireVocabulary(model.config(), tokenizer);
    if (speculative && model.config().numMtpModules() == 0) {
      throw new IllegalArgumentException(
          "speculative decoding needs a draft: the model has num_nextn_predict_layers=0, expected"
              + " an MTP module; turn it off");
    }
    this.model = model;
    this.tokenizer = tokenizer;
    this.endIds = Set.copyOf(endIds);
    Sampler sampler = new Sampler(model.decodeKernels(), tokenizer.vocabSize());
    this.decoder =
        speculative ? new SpeculativeDecoder(model, sampler) : new PlainDecoder(model, sampler);
  }

  /** Without drafting. */
  public TextGenerator(InferenceModel model, Tokenizer tokenizer, Set<Integer> endIds) {
    this(model, tokenizer, endIds, false);
  }

  /** Texts end with the tokenizer's own end of text. */
  public TextGenerator(InferenceModel model, Tokenizer tokenizer) {
    this(model, tokenizer, Set.of(tokenizer.endOfTextId()));
  }

  /**
   * Refuses a tokenizer with ids that the model does not know.
   *
   * @throws IllegalArgumentException with both sizes
   */
  public static void requireVocabulary(ModelConfig model, Tokenizer tokenizer) {
    if (tokenizer.vocabSize() > model.vocabSize()) {
      throw new IllegalArgumentException(
          "vocabulary mismatch: the tokenizer has "
              + tokenizer.vocabSize()
              + " ids, expected at most the model's vocab_size="
              + model.vocabSize()
              + "; take the tokenizer.json that the model was trained with");
    }
  }

  /**
   * Texts and what they took.
   *
   * @param texts in the order of the requests
   */
  public record Result(List<Generation> texts, GenerationSpeed speed) {}

  /**
   * Writes a text for every request.
   *
   * @param batch texts under way at the same time
   * @param listener hears of the texts while they are written
   * @throws IllegalArgumentException when a request does not fit the model's context; nothing is
   *     written then
   */
  public Result generate(List<GenerationRequest> requests, int batch, GenerationListener listener) {
    for (GenerationRequest request : requests) {
      request.requireContext(model.config().maxPositionEmbeddings());
    }
    Deque<Integer> waiting = new ArrayDeque<>();
    for (int number = 0; number < requests.size(); number++) {
      waiting.add(number);
    }
    Run run = new Run(requests.size(), listener);
    List<ActiveText> active = new ArrayList<>();
    try {
      while (!waiting.isEmpty() || !active.isEmpty()) {
        List<ActiveText> started = new ArrayList<>();
        while (!waiting.isEmpty() && active.size() < batch) {
          ActiveText text = start(waiting.remove(), requests);
          active.add(text);
          started.add(text);
        }
        if (started.isEmpty()) {
          run.step(active);
        } else {
          run.prefill(started);
        }
        List<ActiveText> ended = active.stream().filter(ActiveText::isEnded).toList();
        ended.forEach(ActiveText::close);
        active.removeAll(ended);
      }
    } finally {
      active.forEach(ActiveText::close);
    }
    return run.result();
  }

  /** Most bytes that the caches of requests take at a time. */
  public static long cacheBytes(ModelConfig model, List<GenerationRequest> requests, int batch) {
    return requests.stream()
        .map(request -> LatentCache.sizeBytes(model, request.length()))
        .sorted(Comparator.reverseOrder())
        .limit(batch)
        .mapToLong(Long::longValue)
        .sum();
  }

  private ActiveText start(int number, List<GenerationRequest> requests) {
    GenerationRequest request = requests.get(number);
    LatentCache cache = model.newCache(request.length());
    return new ActiveText(new Sequence(number, request, cache, 0), tokenizer, endIds);
  }

  /**
   * Writes one text over a cache that holds the start of its prompt, and leaves prompt and text in
   * the cache but for the last token.
   *
   * @param cache the caller's; its tokens are the first of the prompt, which must have more
   * @throws IllegalArgumentException when the request does not fit the cache
   */
  public Result continueIn(
      LatentCache cache, GenerationRequest request, GenerationListener listener) {
    request.requireContext(cache.capacity());
    if (cache.length() >= request.promptIds().length) {
      throw new IllegalArgumentException(
          "the prompt must be longer than the cache, which holds "
              + cache.length()
              + " tokens, got "
              + request.promptIds().length);
    }
    Sequence sequence = new Sequence(0, request, cache, cache.length());
    ActiveText text = new ActiveText(sequence, tokenizer, endIds);
    Run run = new Run(1, listener);
    run.prefill(List.of(text));
    while (!text.isEnded()) {
      run.step(List.of(text));
    }
    // A last step may have gone beyond the text's end.
    int settled = request.promptIds().length + text.numTokens() - 1;
    cache.truncate(Math.min(cache.length(), settled));
    return run.result();
  }

  /** One call: runs the decoder, hands text out, and keeps time. */
  private final class Run {
    private final Generation[] done;
    private final GenerationListener listener;
    private long promptTokens;
    private long prefillNanos;
    private long writtenTokens;
    private long decodeNanos;

    Run(int requests, GenerationListener listener) {
      this.done = new Generation[requests];
      this.listener = listener;
    }

    void prefill(List<ActiveText> texts) {
      for (ActiveText text : texts) {
        promptTokens += text.sequence().promptLeft();
      }
      long start = System.nanoTime();
      decoder.prefill(texts.stream().map(ActiveText::sequence).toList());
      prefillNanos += System.nanoTime() - start;
      texts.forEach(this::handOut);
    }

    void step(List<ActiveText> texts) {
      int before = texts.stream().mapToInt(ActiveText::numTokens).sum();
      long start = System.nanoTime();
      decoder.step(texts.stream().map(ActiveText::sequence).toList());
      decodeNanos += System.nanoTime() - start;
      texts.forEach(this::handOut);
      writtenTokens += texts.stream().mapToInt(ActiveText::numTokens).sum() - before;
    }

    private void handOut(ActiveText text) {
      String piece = text.advance();
      int number = text.sequence().number();
      if (!piece.isEmpty()) {
        listener.onText(number, piece);
      }
      if (text.isEnded()) {
        done[number] = text.generation();
      }
    }

    Result result() {
      return new Result(
          List.of(done),
          new GenerationSpeed(
              promptTokens,
              prefillNanos * SECONDS_OF_NANO,
              writtenTokens,
              decodeNanos * SECONDS_OF_NANO,
              decoder.draftAcceptance()));
    }
  }
}
