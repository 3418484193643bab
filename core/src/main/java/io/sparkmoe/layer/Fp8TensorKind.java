package io.sparkmoe.layer;

/** What is rounded to FP8, as statistics tell it apart. */
public enum Fp8TensorKind {
  /** Inputs of projections and of gated networks. */
  INPUT("input"),
  /** The same inputs, rounded again for the weight gradient. */
  INPUT_TRANSPOSED("inputTransposed"),
  /** Products before the activation of a gated network, as kept for the backward. */
  GATE_UP("gateUp"),
  /** Inputs of a gated network's down projection. */
  HIDDEN("hidden"),
  /** Output gradients. */
  GRADIENT("gradient"),
  /** Output gradients, rounded for the weight gradient. */
  GRADIENT_TRANSPOSED("gradientTransposed"),
  /** Weights. */
  WEIGHT("weight");

  private final String label;

  Fp8TensorKind(String label) {
    this.label = label;
  }

  /** Name in metrics. */
  public String label() {
    return label;
  }
}
