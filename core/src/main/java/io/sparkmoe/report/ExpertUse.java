package io.sparkmoe.report;

import io.sparkmoe.moe.LoadBalancer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;

/**
 * How often the tokens of each source (for Europarl: language) went to each expert of one MoE
 * layer, and what that says about specialisation. S sources, E experts.
 *
 * <p>A (token, expert) pair drawn at random has a source and an expert; their mutual information is
 * how many bits the expert tells about the source: 0 when every source uses the experts alike, the
 * source's entropy when no two sources share one [1].
 *
 * <p>[1] Cover and Thomas, Elements of Information Theory, section 2.3; the chance level is Miller
 * (1955), "Note on the bias of information estimates", first order.
 */
public final class ExpertUse {

  private final String layer;
  private final List<String> sources;
  private final long[][] counts;
  private final long[] sourceTotals;
  private final long[] expertTotals;
  private final long total;

  /**
   * @param layer name to show
   * @param sources names of the sources, in the order of the rows
   * @param counts (token, expert) pairs, (S, E); every row and at least one cell is counted
   */
  public ExpertUse(String layer, List<String> sources, long[][] counts) {
    if (counts.length != sources.size() || counts.length == 0) {
      throw new IllegalArgumentException(
          "expert counts of "
              + layer
              + " have "
              + counts.length
              + " rows, expected one for each of "
              + sources.size()
              + " sources and at least one");
    }
    this.layer = layer;
    this.sources = List.copyOf(sources);
    this.counts = counts;
    this.sourceTotals = new long[counts.length];
    this.expertTotals = new long[counts[0].length];
    long sum = 0;
    for (int s = 0; s < counts.length; s++) {
      for (int e = 0; e < expertTotals.length; e++) {
        sourceTotals[s] += counts[s][e];
        expertTotals[e] += counts[s][e];
        sum += counts[s][e];
      }
    }
    this.total = sum;
    if (total == 0) {
      throw new IllegalArgumentException(
          "expert counts of " + layer + " are all zero, expected at least one token");
    }
  }

  /** From a table of counts (E) by source; sources in alphabetical order. */
  public static ExpertUse of(String layer, Map<String, long[]> countsBySource) {
    Map<String, long[]> sorted = new TreeMap<>(countsBySource);
    return new ExpertUse(
        layer, new ArrayList<>(sorted.keySet()), sorted.values().toArray(long[][]::new));
  }

  /** Name of the layer. */
  public String layer() {
    return layer;
  }

  /** Names of the sources, in the order of the rows. */
  public List<String> sources() {
    return sources;
  }

  /** E. */
  public int numExperts() {
    return expertTotals.length;
  }

  /** Mutual information of source and expert, bits. */
  public double mutualInformationBits() {
    double bits = 0;
    for (int s = 0; s < counts.length; s++) {
      for (int e = 0; e < expertTotals.length; e++) {
        if (counts[s][e] > 0) {
          bits += (double) counts[s][e] / total * log2(lift(s, e));
        }
      }
    }
    return Math.max(0, bits);
  }

  /**
   * Mutual information that so few pairs show on average although source and expert are
   * independent, bits: (S' - 1)(E' - 1) / (2 N ln 2) over the sources and experts in use.
   */
  public double chanceBits() {
    return (double) (inUse(sourceTotals) - 1)
        * (inUse(expertTotals) - 1)
        / (2.0 * total * Math.log(2));
  }

  /** Entropy of the source, bits: the most that the mutual information can be. */
  public double sourceEntropyBits() {
    double bits = 0;
    for (long n : sourceTotals) {
      if (n > 0) {
        bits -= (double) n / total * log2((double) n / total);
      }
    }
    return bits;
  }

  /** Mutual information over source entropy, in [0, 1]; 0 with a single source. */
  public double specialisation() {
    double entropy = sourceEntropyBits();
    return entropy == 0 ? 0 : Math.min(1, mutualInformationBits() / entropy);
  }

  /** Largest load of an expert over the mean load. */
  public double loadMaxOverMean() {
    return LoadBalancer.maxOverMean(expertTotals);
  }

  /** Experts without a single token. */
  public int deadExperts() {
    return LoadBalancer.deadExperts(expertTotals);
  }

  /**
   * How much more of this source's tokens an expert gets than of all tokens; 0 for an idle pair.
   */
  public double lift(int source, int expert) {
    long n = counts[source][expert];
    return n == 0 ? 0 : (double) n * total / ((double) sourceTotals[source] * expertTotals[expert]);
  }

  /** Share of the source's pairs that went to the expert. */
  public double share(int source, int expert) {
    return sourceTotals[source] == 0 ? 0 : (double) counts[source][expert] / sourceTotals[source];
  }

  /** Share of all pairs that are of the source. */
  public double sourceShare(int source) {
    return (double) sourceTotals[source] / total;
  }

  /**
   * The experts that set the source apart: those that get more of its tokens than of all tokens, by
   * their part share * log(lift) of the divergence between the source's use of the experts and
   * everyone's. Largest first, lowest id first on a tie.
   */
  public List<Integer> leaningExperts(int source, int howMany) {
    return IntStream.range(0, expertTotals.length)
        .boxed()
        .filter(e -> lift(source, e) > 1)
        .sorted(
            Comparator.comparingDouble((Integer e) -> -share(source, e) * log2(lift(source, e))))
        .limit(howMany)
        .toList();
  }

  /**
   * All experts, grouped by the source that they lean to most (greatest lift), in the order of the
   * sources, strongest first: an order in which specialisation shows as a diagonal. Idle experts
   * come last.
   */
  public int[] expertsByLeaning() {
    int[] leaning = new int[expertTotals.length];
    for (int e = 0; e < leaning.length; e++) {
      leaning[e] = expertTotals[e] == 0 ? sources.size() : leaningOf(e);
    }
    return IntStream.range(0, expertTotals.length)
        .boxed()
        .sorted(
            Comparator.comparingInt((Integer e) -> leaning[e])
                .thenComparingDouble(e -> leaning[e] == sources.size() ? 0 : -lift(leaning[e], e)))
        .mapToInt(Integer::intValue)
        .toArray();
  }

  private int leaningOf(int expert) {
    int best = 0;
    for (int s = 1; s < sources.size(); s++) {
      if (lift(s, expert) > lift(best, expert)) {
        best = s;
      }
    }
    return best;
  }

  private static int inUse(long[] totals) {
    return (int) IntStream.range(0, totals.length).filter(i -> totals[i] > 0).count();
  }

  private static double log2(double x) {
    return Math.log(x) / Math.log(2);
  }
}
