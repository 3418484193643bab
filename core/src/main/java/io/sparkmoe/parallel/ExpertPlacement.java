package io.sparkmoe.parallel;

/**
 * Which rank owns which routed experts: contiguous blocks, the same in every MoE layer. When
 * experts do not divide evenly, the first {@code numExperts % numRanks} ranks own one more.
 *
 * @param numExperts routed experts of a layer
 * @param numRanks ranks; more ranks than experts leave the last ones without any
 */
public record ExpertPlacement(int numExperts, int numRanks) {

  public ExpertPlacement {
    if (numExperts < 0 || numRanks < 1) {
      throw new IllegalArgumentException(
          "expert placement needs at least 0 experts and 1 rank, got "
              + numExperts
              + " and "
              + numRanks);
    }
  }

  /**
   * Expected number of ranks that hold at least one of a token's experts, drawn evenly without
   * replacement from E: the sum over ranks of {@code 1 - C(E - n, K) / C(E, K)} with n experts
   * there.
   *
   * @param topK K, experts of a token
   */
  public double ranksReached(int topK) {
    double reached = 0;
    for (int rank = 0; rank < numRanks; rank++) {
      double missed = 1;
      for (int i = 0; i < topK; i++) {
        missed *= Math.max(0, numExperts - numLocalExperts(rank) - i) / (double) (numExperts - i);
      }
      reached += 1 - missed;
    }
    return reached;
  }

  /** First expert id that the rank owns. */
  public int firstExpert(int rank) {
    return rank * (numExperts / numRanks) + Math.min(rank, numExperts % numRanks);
  }

  /** Number of experts that the rank owns. */
  public int numLocalExperts(int rank) {
    return firstExpert(rank + 1) - firstExpert(rank);
  }

  /** Rank that owns the expert. */
  public int rankOf(int expertId) {
    int larger = numExperts / numRanks + 1;
    int numLarger = numExperts % numRanks;
    if (expertId < numLarger * larger) {
      return expertId / larger;
    }
    return numLarger + (expertId - numLarger * larger) / (larger - 1);
  }
}
