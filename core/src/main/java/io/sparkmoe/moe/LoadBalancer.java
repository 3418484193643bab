package io.sparkmoe.moe;

import io.sparkmoe.tensor.Tensor;

/**
 * Auxiliary-loss-free balancing (DeepSeek-V3 section 2.1.2): once per optimizer step the selection
 * bias of an overloaded expert falls by {@code rate} and that of an underloaded one rises, {@code
 * b[i] += rate * sign(mean(load) - load[i])}. The mean of the change is then subtracted, so the
 * biases' mean stays where it is; selection does not feel it, since a common shift changes no order
 * and excluded groups are at -inf.
 */
public final class LoadBalancer {

  private LoadBalancer() {}

  /**
   * @param bias selection bias of a layer, F32 (E), updated
   * @param load tokens of the whole batch by expert, padding excluded, E entries
   * @param rate gamma
   */
  public static void update(Tensor bias, long[] load, double rate) {
    long total = 0;
    for (long tokens : load) {
      total += tokens;
    }
    int numExperts = load.length;
    double meanDelta = 0;
    double[] delta = new double[numExperts];
    for (int e = 0; e < numExperts; e++) {
      // load < mean as integers: load * E < total, exact where a rounded mean is not.
      delta[e] = rate * Long.signum(total - load[e] * numExperts);
      meanDelta += delta[e] / numExperts;
    }
    for (int e = 0; e < numExperts; e++) {
      bias.set(e, bias.get(e) + delta[e] - meanDelta);
    }
  }

  /**
   * Largest load over the mean load; 1 is perfect balance, E is a single busy expert. Zero when
   * nothing was routed.
   */
  public static double maxOverMean(long[] load) {
    long total = 0;
    long max = 0;
    for (long tokens : load) {
      total += tokens;
      max = Math.max(max, tokens);
    }
    return total == 0 ? 0 : (double) max * load.length / total;
  }

  /** Number of experts that no token chose. */
  public static int deadExperts(long[] load) {
    int dead = 0;
    for (long tokens : load) {
      if (tokens == 0) {
        dead++;
      }
    }
    return dead;
  }
}
