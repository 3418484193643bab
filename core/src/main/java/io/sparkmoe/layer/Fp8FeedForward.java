package io.sparkmoe.layer;

import io.sparkmoe.kernel.Fp8Tensor;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/** {@link FeedForward} whose products read FP8 values. T tokens, D model width, F width. */
final class Fp8FeedForward implements FeedForward {

  private final Fp8Quantizer quantizer;
  private final Fp8GatedNetwork network;

  /**
   * @param x input, (T, D)
   * @param gateUp products before the activation, (2T, F)
   */
  private record Kept(Fp8Input x, Fp8Tensor gateUp) implements Saved {}

  /**
   * @param network one network
   */
  Fp8FeedForward(Fp8Quantizer quantizer, Fp8GatedNetwork network) {
    this.quantizer = quantizer;
    this.network = network;
  }

  @Override
  public Saved forward(Tensor y, ProjectionInput input, Scope scope) {
    Fp8Input x = Fp8Input.of(input);
    Fp8Tensor gateUp = network.allocateKept(y.rows(), scope);
    network.forward(0, y, true, gateUp, x.operand(), null, scope);
    return new Kept(x, gateUp);
  }

  @Override
  public void backward(Tensor dx, Tensor dy, Saved saved, Scope scope) {
    Kept kept = (Kept) saved;
    try (Scope scratch = scope.inner()) {
      network.backward(
          0,
          dx,
          true,
          null,
          quantizer.operand(Fp8TensorKind.GRADIENT, dy, null, scratch),
          quantizer.operand(Fp8TensorKind.GRADIENT_TRANSPOSED, dy, null, scratch),
          Fp8Input.Transposed.of(kept.x.forGradient(scratch)),
          kept.gateUp,
          null,
          scratch);
    }
  }
}
