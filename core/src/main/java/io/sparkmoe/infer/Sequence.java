package io.sparkmoe.infer;

import java.util.Arrays;

/**
 * A text under way: its cache and the tokens written so far, of which the last is not in the cache
 * yet.
 */
final class Sequence implements AutoCloseable {

  private final int number;
  private final GenerationRequest request;
  private final LatentCache cache;
  private int[] tokens = new int[16];
  private float[] logProbabilities = new float[16];
  private int numTokens;
  private int promptDone;
  private Draft draft;

  /**
   * @param number of the request
   * @param promptDone tokens of the prompt that the cache holds already
   */
  Sequence(int number, GenerationRequest request, LatentCache cache, int promptDone) {
    this.number = number;
    this.request = request;
    this.cache = cache;
    this.promptDone = promptDone;
  }

  int number() {
    return number;
  }

  GenerationRequest request() {
    return request;
  }

  LatentCache cache() {
    return cache;
  }

  /** Tokens written so far. */
  int numTokens() {
    return numTokens;
  }

  /** The newest written token. */
  int lastToken() {
    return tokens[numTokens - 1];
  }

  /**
   * A token of prompt and text together.
   *
   * @param position from the start of the prompt
   */
  int tokenAt(int position) {
    int[] prompt = request.promptIds();
    return position < prompt.length ? prompt[position] : tokens[position - prompt.length];
  }

  /** What may follow the newest token; null before the first draft. */
  Draft draft() {
    return draft;
  }

  void setDraft(Draft next) {
    draft = next;
  }

  /** A copy. */
  int[] tokens() {
    return Arrays.copyOf(tokens, numTokens);
  }

  /** A copy. */
  float[] logProbabilities() {
    return Arrays.copyOf(logProbabilities, numTokens);
  }

  /** Prompt tokens that the cache lacks. */
  int promptLeft() {
    return request.promptIds().length - promptDone;
  }

  /** Takes the next so many prompt tokens as fed. */
  int[] nextPrompt(int count) {
    promptDone += count;
    return Arrays.copyOfRange(request.promptIds(), promptDone - count, promptDone);
  }

  /** Adds a written token. */
  void add(Sampler.Choice choice) {
    if (numTokens == tokens.length) {
      tokens = Arrays.copyOf(tokens, 2 * numTokens);
      logProbabilities = Arrays.copyOf(logProbabilities, 2 * numTokens);
    }
    tokens[numTokens] = choice.token();
    logProbabilities[numTokens++] = choice.logProbability();
  }

  @Override
  public void close() {
    cache.close();
  }
}
