package io.sparkmoe.model;

import io.sparkmoe.moe.GateSite;

/**
 * One run of a micro-batch through the model.
 *
 * @param step optimizer step, from 1
 * @param microBatch number of the pass within the step
 * @param training whether a backward follows
 */
record Pass(int step, int microBatch, boolean training) {

  /** The same without a backward: gates neither keep anything nor count. */
  Pass withoutBackward() {
    return new Pass(step, microBatch, false);
  }

  GateSite site(int layer) {
    return new GateSite(step, microBatch, layer, training);
  }
}
