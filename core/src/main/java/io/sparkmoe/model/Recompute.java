package io.sparkmoe.model;

/** What a backward computes again instead of having kept it ({@code train.recompute}). */
public enum Recompute {
  /** Nothing: every layer keeps what its backward needs. */
  NONE,
  /**
   * Whole decoder layers: between forward and backward only a layer's input is kept, and its
   * forward runs once more before its backward, tokens travel to the experts again included. The
   * same bits for about a third more work and traffic. MTP modules are left out: the backward of
   * the last one follows its forward at once.
   */
  LAYER
}
