package io.sparkmoe.moe;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;

/**
 * Gating networks evaluated where they are called, for the tokens of one rank: on the rank itself,
 * or on the driver on the rank's behalf. The bits of decisions and gradients depend only on the
 * inputs, the weights and the kernels, so both places agree. Not for use by several threads at
 * once.
 */
public final class LocalGate implements Gate {

  private final Map<Integer, Router> routers = new TreeMap<>();
  private final Map<Integer, long[]> loads = new TreeMap<>();
  private final Map<GateSite, Open> open = new HashMap<>();
  private final Kernels kernels;

  /** A training site between its forward and its backward. */
  private record Open(Router.Saved saved, Scope scope) {}

  /**
   * @param weights gating networks by decoder layer
   */
  public LocalGate(RouterConfig config, Map<Integer, GateWeights> weights, Kernels kernels) {
    this.kernels = kernels;
    weights.forEach(
        (layer, gate) -> {
          Router router = new Router(config, gate, kernels);
          routers.put(layer, router);
          loads.put(layer, new long[router.numExperts()]);
        });
  }

  @Override
  public Pending<Routing> route(GateSite site, Tensor x, Tensor valid, Scope scope) {
    Router.Saved saved = router(site.layer()).forward(x, valid, scope);
    if (site.training()) {
      if (open.put(site, new Open(saved, scope)) != null) {
        throw new IllegalStateException(
            "the gate was asked twice at " + site + "; a training site is asked once");
      }
      countLoad(loads.get(site.layer()), saved.routing().ids(), valid);
    }
    return saved::routing;
  }

  /**
   * {@inheritDoc}
   *
   * <p>The gate's share of dx is computed on its own and added on await, as a distant gate's is, so
   * that the sum has the same bits.
   */
  @Override
  public Pending<Void> backward(
      GateSite site, Tensor dx, Tensor dWeights, double balanceGradientScale) {
    Open forward = open.remove(site);
    if (forward == null) {
      throw new IllegalStateException(
          "the gate has no forward at " + site + "; route with training first");
    }
    Scope scratch = forward.scope.inner();
    try {
      Tensor share = scratch.allocate(dx.type(), dx.shape());
      router(site.layer()).backward(share, dWeights, forward.saved, balanceGradientScale, scratch);
      return () -> {
        try (scratch) {
          kernels.add(dx, share);
        }
        return null;
      };
    } catch (RuntimeException e) {
      scratch.close();
      throw e;
    }
  }

  /**
   * Tokens that training sites sent to each expert of the layer since the last reset, padding
   * excluded; a copy.
   */
  public long[] load(int layer) {
    router(layer);
    return loads.get(layer).clone();
  }

  /** Begins a new count, once per optimizer step. */
  public void resetLoads() {
    loads.values().forEach(load -> Arrays.fill(load, 0));
  }

  private Router router(int layer) {
    Router router = routers.get(layer);
    if (router == null) {
      throw new IllegalArgumentException(
          "layer " + layer + " has no gate; gates are in layers " + routers.keySet());
    }
    return router;
  }

  private static void countLoad(long[] load, Tensor ids, Tensor valid) {
    int numSequences = valid.size();
    int topK = ids.cols();
    int perSequence = numSequences == 0 ? 0 : ids.size() / numSequences;
    for (int b = 0; b < numSequences; b++) {
      int start = b * perSequence;
      int end = start + valid.getInt(b) * topK;
      for (int i = start; i < end; i++) {
        load[ids.getInt(i)]++;
      }
    }
  }
}
