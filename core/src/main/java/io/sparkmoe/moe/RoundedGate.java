package io.sparkmoe.moe;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * A gate that sees hidden states rounded to BF16, as a gate sees them that is asked over a BF16
 * wire: both decide alike, bit for bit. Gradients pass unchanged. T tokens, D model width.
 */
public final class RoundedGate implements Gate {

  private final Gate gate;
  private final Kernels kernels;

  /**
   * @param gate what decides
   */
  public RoundedGate(Gate gate, Kernels kernels) {
    this.gate = gate;
    this.kernels = kernels;
  }

  @Override
  public Pending<Routing> route(GateSite site, Tensor x, Tensor valid, Scope scope) {
    Tensor seen = scope.allocate(x.type(), x.shape());
    kernels.toBfloat16(seen, x);
    return gate.route(site, seen, valid, scope);
  }

  @Override
  public Pending<Void> backward(
      GateSite site, Tensor dx, Tensor dWeights, double balanceGradientScale) {
    return gate.backward(site, dx, dWeights, balanceGradientScale);
  }

  @Override
  public boolean keepsElsewhere() {
    return gate.keepsElsewhere();
  }
}
