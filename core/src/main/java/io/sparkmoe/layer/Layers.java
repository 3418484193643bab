package io.sparkmoe.layer;

import io.sparkmoe.kernel.Fp8Statistics;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.Weight;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.Map;

/**
 * Makes the layers of one model in one number format, and keeps what that format needs of their
 * weights. {@link ExactLayers} computes in the type of the weights, {@link Fp8Layers} in FP8. Not
 * for use by several threads at once.
 *
 * <p>Legend: T tokens, I input width, O output width, F width, e local experts, D model width.
 */
public interface Layers extends AutoCloseable {

  /** What computes everything that is no product with a weight of these layers. */
  Kernels kernels();

  /**
   * A linear layer.
   *
   * @param weight (O, I)
   */
  Projection projection(Weight weight);

  /**
   * The language-model head, which keeps more precision than other linear layers.
   *
   * @param weight (O, I)
   */
  Projection head(Weight weight);

  /**
   * A gated feed-forward network.
   *
   * @param gateUp gate_proj and up_proj one after the other, (2F, D)
   * @param down down_proj, (D, F)
   */
  FeedForward feedForward(Weight gateUp, Weight down);

  /**
   * The routed experts of a layer.
   *
   * @param gateUp gate_proj and up_proj of each expert one after the other, (e, 2F, D)
   * @param down down_proj of each expert, (e, D, F)
   */
  Experts experts(Weight gateUp, Weight down);

  /** A tensor on its way to the backward. */
  interface Kept {

    /**
     * The values that {@link Layers#keep} left.
     *
     * @param scratch owns the tensor if it is a new one
     */
    Tensor restore(Scope scratch);
  }

  /**
   * Where a tensor is allocated that only {@link #input} or {@link #keep} brings to the backward:
   * with what is saved where the format keeps the tensor itself, else with the scratch.
   */
  Allocator inputAllocator(Scope saved, Scope scratch);

  /**
   * Prepares x for the layers that read it, once for all of them.
   *
   * @param x (T, I) from {@link #inputAllocator}, unchanged from now on
   * @param saved owns what the backward needs
   * @param scratch owns what only the forward needs
   */
  ProjectionInput input(Tensor x, Scope saved, Scope scratch);

  /**
   * Whether the products that the attention core reads are kept for the backward, or computed again
   * from the inputs of their projections.
   */
  boolean keepsProducts();

  /** Rounds x as the attention core computes with it. */
  void roundForCore(Tensor x);

  /**
   * Keeps x for the backward.
   *
   * @param x from {@link #inputAllocator}; rounded to the values that come back
   * @param saved owns what is kept
   */
  Kept keep(Tensor x, Scope saved);

  /**
   * Prepares x for the {@link #head}.
   *
   * @param x (T, I)
   * @param scope owns what is prepared, for forward and backward
   */
  ProjectionInput headInput(Tensor x, Scope scope);

  /**
   * What a loss writes the gradient of logits to, for the {@link #head}'s backward.
   *
   * @param logits (T, O)
   * @param scope owns the tensor if it is a new one
   * @return the logits themselves, or an operand of their shape, for a gradient rounded to BF16
   */
  Tensor headGradient(Tensor logits, Scope scope);

  /** Begins to count what rounding does, from zero, or stops it; counting is slow. */
  void countRounding(boolean on);

  /** What was counted since {@link #countRounding}, by kind of tensor; empty without rounding. */
  Map<Fp8TensorKind, Fp8Statistics> rounding();

  /**
   * To be called after an optimizer step: the weights have new values, and all gradients are zero
   * but those of experts, which may hold anything. The next backward replaces them.
   */
  void optimized();

  /** Gives back what is kept of the weights. */
  @Override
  void close();
}
