package io.sparkmoe.parallel;

/**
 * What a frame carries; bytes on the wire are counted by kind. The ordinal is the code on the wire:
 * append only.
 */
public enum FrameKind {
  /** Hidden states of tokens on their way to the experts' ranks. */
  DISPATCH("dispatch"),
  /** Weighted expert outputs on their way back. */
  COMBINE("combine"),
  /** Gradients of combined outputs on their way to the experts' ranks. */
  COMBINE_BACKWARD("combineBackward"),
  /** Gradients of dispatched hidden states and of routing weights on their way back. */
  DISPATCH_BACKWARD("dispatchBackward"),
  /** Gate traffic with the driver: hidden states, decisions, gradients, snapshots. */
  GATE("gate"),
  /** Shards of replicated gradients. */
  GRADIENTS("gradients"),
  /** Step control: counts, losses, norms, learning rate, commands, failures. */
  CONTROL("control");

  private final String label;

  FrameKind(String label) {
    this.label = label;
  }

  /** Name of the kind in metrics and messages. */
  public String label() {
    return label;
  }
}
