package io.sparkmoe.model;

/** Who owns a parameter. */
public enum Part {
  /**
   * On every rank, the same bits: embedding, attention, norms, dense FFN, shared experts, MTP
   * joints, head.
   */
  REPLICATED,
  /** On the rank that owns the expert. */
  EXPERT,
  /** On the driver: the gates' weights and selection biases. */
  GATE
}
