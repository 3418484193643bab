package io.sparkmoe.infer;

import io.sparkmoe.data.ChatTemplate;
import io.sparkmoe.data.TokenIds;
import io.sparkmoe.data.Tokenizer;
import io.sparkmoe.model.ModelConfig;

/**
 * A conversation with a model. The cache stays from turn to turn, so a turn costs its own tokens
 * only. Not for use by several threads at once.
 */
public final class ChatSession implements AutoCloseable {

  /** Tokens that the cache has memory for from the start: few talks need all of a long context. */
  private static final int RESERVED_TOKENS = 1024;

  private final Tokenizer tokenizer;
  private final TextGenerator generator;
  private final SamplingOptions sampling;
  private final int maxTokens;
  private final LatentCache cache;

  private final int[] begin;

  /** Everything said so far; the cache holds a start of it. */
  private int[] history;

  private int turn;

  /**
   * @param maxTokens most tokens of an answer
   * @param begin ids that stand before every text of the model
   */
  public ChatSession(
      InferenceModel model,
      Tokenizer tokenizer,
      TextGenerator generator,
      SamplingOptions sampling,
      int maxTokens,
      int... begin) {
    this.tokenizer = tokenizer;
    this.generator = generator;
    this.sampling = sampling;
    this.maxTokens = maxTokens;
    this.begin = begin.clone();
    this.history = begin.clone();
    this.cache = model.newCache(model.config().maxPositionEmbeddings(), RESERVED_TOKENS);
  }

  /** Bytes of caches that a conversation takes at once. */
  public static long firstBytes(ModelConfig model) {
    return LatentCache.sizeBytes(model, Math.min(RESERVED_TOKENS, model.maxPositionEmbeddings()));
  }

  /** Bytes of caches while one of the whole context takes the place of a shorter one. */
  public static long mostBytes(ModelConfig model) {
    return 2 * LatentCache.sizeBytes(model, model.maxPositionEmbeddings());
  }

  /** Tokens of the conversation so far. */
  public int numTokens() {
    return history.length;
  }

  /** Tokens that the conversation may have. */
  public int contextLength() {
    return cache.capacity();
  }

  /**
   * Says something and returns the answer.
   *
   * <p>Whatever is thrown, also by the listener, the conversation stays as it was.
   *
   * @param listener hears of the answer while it is written
   * @throws ContextFullException when the message leaves no room for an answer
   */
  public TextGenerator.Result say(String message, GenerationListener listener) {
    int[] added = tokenizer.encode(ChatTemplate.userTurn(message, history.length == begin.length));
    int[] prompt = TokenIds.concat(history, added);
    int room = cache.capacity() - prompt.length;
    if (room < 1) {
      throw new ContextFullException(prompt.length, cache.capacity());
    }
    GenerationRequest request =
        new GenerationRequest(
            prompt,
            Math.min(room, maxTokens),
            sampling.withSeed(sampling.seed() + turn),
            ChatTemplate.stops());
    int held = cache.length();
    try {
      TextGenerator.Result result = generator.continueIn(cache, request, listener);
      remember(prompt, result.texts().get(0));
      turn++;
      return result;
    } catch (RuntimeException | Error e) {
      cache.truncate(Math.min(held, cache.length()));
      throw e;
    }
  }

  /**
   * Keeps prompt and answer as one text. An answer that a stop string ended has tokens beyond its
   * text; the text's own ids take their place, and the cache is cut to what it shares with them.
   */
  private void remember(int[] prompt, Generation answer) {
    int[] said = tokenizer.encode(answer.text().stripTrailing());
    int[] written = answer.tokenIds();
    int shared = 0;
    while (shared < said.length && shared < written.length && said[shared] == written[shared]) {
      shared++;
    }
    cache.truncate(Math.min(cache.length(), prompt.length + shared));
    history = TokenIds.concat(prompt, said);
  }

  /** Forgets the conversation. */
  public void reset() {
    cache.truncate(0);
    history = begin.clone();
  }

  @Override
  public void close() {
    cache.close();
  }

  /** The conversation has no room for another answer. */
  public static final class ContextFullException extends IllegalArgumentException {

    private static final long serialVersionUID = 1;

    ContextFullException(int tokens, int contextLength) {
      super(
          "context is full: the conversation would have "
              + tokens
              + " tokens, expected fewer than max_position_embeddings="
              + contextLength
              + "; start anew with /reset");
    }
  }
}
