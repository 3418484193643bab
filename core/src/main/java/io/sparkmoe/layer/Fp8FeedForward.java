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
    return new Kept(x, network.forward(y, true, x.operand(), all(y), null, scope));
  }

  @Override
  public void backward(Tensor dx, Tensor dy, Saved saved, Scope scope) {
    Kept kept = (Kept) saved;
    int[] rows = all(dy);
    try (Scope scratch = scope.inner()) {
      network.backward(
          dx,
          true,
          null,
          quantizer.operand(Fp8TensorKind.GRADIENT, dy, null, scratch),
          quantizer.operand(Fp8TensorKind.GRADIENT_TRANSPOSED, dy, null, scratch),
          Fp8Input.Transposed.of(kept.x.forGradient(scratch)),
          kept.gateUp,
          rows,
          null,
          scratch);
    }
  }

  private static int[] all(Tensor y) {
    return new int[] {0, y.rows()};
  }
}
