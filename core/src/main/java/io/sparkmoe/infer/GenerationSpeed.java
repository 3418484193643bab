package io.sparkmoe.infer;

/**
 * What writing took, over all texts of a call.
 *
 * @param promptTokens fed in prefill passes
 * @param prefillSeconds of those passes, each of which also writes a first token
 * @param writtenTokens in the steps after them
 * @param decodeSeconds of those steps
 * @param draftAcceptance share of the drafted tokens that were accepted; NaN without drafting
 */
public record GenerationSpeed(
    long promptTokens,
    double prefillSeconds,
    long writtenTokens,
    double decodeSeconds,
    double draftAcceptance) {

  /** Written tokens a second, the prefill not counted; 0 when every text had one token. */
  public double tokensPerSecond() {
    return decodeSeconds == 0 ? 0 : writtenTokens / decodeSeconds;
  }

  /** Prompt tokens a second. */
  public double prefillTokensPerSecond() {
    return prefillSeconds == 0 ? 0 : promptTokens / prefillSeconds;
  }
}
