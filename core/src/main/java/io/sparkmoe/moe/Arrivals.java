package io.sparkmoe.moe;

import io.sparkmoe.layer.ExpertRows;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.Arrays;

/**
 * What arrives at this rank's experts, collected source by source in rank order. Legend: A tokens
 * that arrived (one row each, by source rank, then token), R (token, expert) pairs. Scratch is
 * reused from exchange to exchange.
 */
final class Arrivals {

  private final int numLocalExperts;
  private final int[] tokenStarts;
  private final int[] pairStarts;
  private int numSources;
  private int[] expertOfPair = new int[0];
  private int[] tokenOfPair = new int[0];
  private double[] weightOfPair = new double[0];

  Arrivals(int numRanks, int numLocalExperts) {
    this.numLocalExperts = numLocalExperts;
    this.tokenStarts = new int[numRanks + 1];
    this.pairStarts = new int[numRanks + 1];
  }

  void clear() {
    numSources = 0;
  }

  /** Begins the next source; sources come in rank order, each once. */
  void beginSource(int numTokens, int numPairs) {
    tokenStarts[numSources + 1] = Math.addExact(tokenStarts[numSources], numTokens);
    pairStarts[numSources + 1] = Math.addExact(pairStarts[numSources], numPairs);
    int pairs = pairStarts[numSources + 1];
    if (pairs > expertOfPair.length) {
      int capacity = Math.max(pairs, expertOfPair.length + expertOfPair.length / 2);
      expertOfPair = Arrays.copyOf(expertOfPair, capacity);
      tokenOfPair = Arrays.copyOf(tokenOfPair, capacity);
      weightOfPair = Arrays.copyOf(weightOfPair, capacity);
    }
    numSources++;
  }

  /**
   * Sets a pair of the source that was begun last.
   *
   * @param pair number within the source, ordered by token, then expert
   * @param token number within the source
   * @param localExpert in [0, numLocalExperts)
   */
  void setPair(int pair, int token, int localExpert, double weight) {
    int at = pairStarts[numSources - 1] + pair;
    expertOfPair[at] = localExpert;
    tokenOfPair[at] = tokenStarts[numSources - 1] + token;
    weightOfPair[at] = weight;
  }

  /**
   * Orders the pairs by local expert, then source rank, then token.
   *
   * @param element type of the weights
   */
  Layout layOut(DType element, Scope scope) {
    int numPairs = pairStarts[numSources];
    int[] rowStarts = new int[numLocalExperts + 1];
    for (int pair = 0; pair < numPairs; pair++) {
      rowStarts[expertOfPair[pair] + 1]++;
    }
    for (int expert = 0; expert < numLocalExperts; expert++) {
      rowStarts[expert + 1] += rowStarts[expert];
    }
    Layout layout =
        new Layout(
            tokenStarts.clone(),
            pairStarts.clone(),
            new ExpertRows(
                rowStarts, scope.allocate(DType.I32, numPairs), scope.allocate(element, numPairs)),
            scope.allocate(DType.I32, numPairs));
    int[] next = rowStarts.clone();
    for (int pair = 0; pair < numPairs; pair++) {
      int row = next[expertOfPair[pair]]++;
      layout.rows.token().setInt(row, tokenOfPair[pair]);
      layout.rows.weight().set(row, weightOfPair[pair]);
      layout.pairRow.setInt(pair, row);
    }
    return layout;
  }

  /**
   * The experts' rows and where they came from.
   *
   * @param tokenStarts arrived tokens of source s are [tokenStarts[s], tokenStarts[s+1])
   * @param pairStarts its pairs, in the order sent, are [pairStarts[s], pairStarts[s+1])
   * @param rows what the local experts compute
   * @param pairRow row of each pair in the order it arrived, I32 (R)
   */
  record Layout(int[] tokenStarts, int[] pairStarts, ExpertRows rows, Tensor pairRow) {

    int numTokens(int source) {
      return tokenStarts[source + 1] - tokenStarts[source];
    }

    int numPairs(int source) {
      return pairStarts[source + 1] - pairStarts[source];
    }

    /** A. */
    int numTokens() {
      return tokenStarts[tokenStarts.length - 1];
    }

    /** The rows of one source in a tensor of all arrived tokens (A, D). */
    Tensor ofSource(Tensor arrived, int source) {
      int columns = arrived.cols();
      return arrived.view(tokenStarts[source] * columns, numTokens(source), columns);
    }
  }
}
