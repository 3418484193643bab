package io.sparkmoe.model;

import io.sparkmoe.moe.Routing;

/** Hears of every routing decision of a forward pass. */
@FunctionalInterface
public interface RoutingListener {

  /** Hears nothing. */
  RoutingListener NONE = (layer, routing, batch) -> {};

  /**
   * @param layer decoder layer; a layer from {@link ModelConfig#numHiddenLayers} on is MTP module
   *     {@code k = layer - numHiddenLayers + 1}, whose tokens are the first S - k positions of
   *     every sequence
   * @param routing the decision, valid during the call
   * @param batch the tokens of the pass
   */
  void onRouting(int layer, Routing routing, TokenBatch batch);
}
