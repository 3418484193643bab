package io.sparkmoe.parallel;

/** What a rank spends a step's time on. */
public enum Phase {
  /** Fetching rows and laying them out. */
  DATA("data"),
  /** Embedding, latent attention, norms and dense FFNs, forward and backward. */
  TRUNK("trunk"),
  /** Shared experts, forward and backward. */
  SHARED_EXPERT("sharedExpert"),
  /** Gate arithmetic on this rank. */
  GATE("gate"),
  /** Waiting for the driver's gate. */
  GATE_WAIT("gateWait"),
  /** Packing, sending and unpacking tokens, and waiting for other ranks' tokens. */
  EXCHANGE("exchange"),
  /** Routed experts, forward and backward. */
  EXPERTS("experts"),
  /** Language-model head and cross-entropy, forward and backward. */
  HEAD("head"),
  /** Reducing replicated gradients over the ranks. */
  REDUCE("reduce"),
  /** Gradient norms, clipping and AdamW. */
  OPTIMIZER("optimizer"),
  /** Waiting for the coordinator. */
  CONTROL("control"),
  /** Evaluation on the validation rows. */
  EVALUATE("evaluate"),
  /** Writing a checkpoint. */
  CHECKPOINT("checkpoint");

  private final String label;

  Phase(String label) {
    this.label = label;
  }

  /** Name in metrics. */
  public String label() {
    return label;
  }
}
