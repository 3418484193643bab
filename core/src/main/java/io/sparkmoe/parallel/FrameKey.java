package io.sparkmoe.parallel;

/**
 * Names one frame between two ends: a sender uses a key once within a run.
 *
 * @param kind what it carries
 * @param step optimizer step, from 1; 0 before the first
 * @param part micro-batch, shard or exchange number within the step
 * @param layer decoder layer, or 0 where there is none
 */
public record FrameKey(FrameKind kind, int step, int part, int layer) {

  @Override
  public String toString() {
    return kind.label() + " of step " + step + ", part " + part + ", layer " + layer;
  }
}
