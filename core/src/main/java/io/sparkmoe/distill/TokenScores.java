package io.sparkmoe.distill;

/**
 * What a model says about the tokens of a text, in log-probabilities of the full softmax at
 * temperature 1.
 *
 * <p>Legend: N tokens, K top-k.
 *
 * @param given of the tokens themselves, (N)
 * @param topkIds most probable tokens, (N, K); null when K is 0
 * @param topkLogprobs (N, K); null when K is 0
 * @param tailLogMass (N); null when K is 0
 */
public record TokenScores(
    float[] given, int[][] topkIds, float[][] topkLogprobs, float[] tailLogMass) {

  /** Scores of N tokens, to be written. */
  public static TokenScores unwritten(int numTokens, int topK) {
    return topK == 0
        ? new TokenScores(new float[numTokens], null, null, null)
        : new TokenScores(
            new float[numTokens],
            new int[numTokens][topK],
            new float[numTokens][topK],
            new float[numTokens]);
  }
}
