package io.sparkmoe.moe;

import io.sparkmoe.layer.ExpertRows;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * Carries tokens to the ranks that own their experts and the weighted outputs back. One copy of a
 * token goes to a rank however many of its experts live there, and one row comes back: the experts
 * there sum {@code weight * output} first. Nothing is ever dropped. T tokens of this rank, A tokens
 * that arrived here, R (token, expert) pairs that landed here, D model width, K experts of a token.
 */
public interface TokenDispatcher {

  /** What arrived here for the local experts; all later calls receive it again. */
  interface Dispatched {
    /** Hidden states (A, D), ordered by source rank, then token. */
    Tensor tokens();

    /** What the local experts compute. */
    ExpertRows rows();

    /**
     * (token, expert) pairs that this rank sent out, minus those that were acknowledged as arrived:
     * must be zero once combine has returned.
     */
    long droppedTokens();
  }

  /**
   * Sends x (T, D) by the routing and receives what belongs to the local experts.
   *
   * @param saved owns what the later calls need
   * @param arrived owns the tokens that arrive
   * @param scratch owns what only this call needs
   */
  Dispatched dispatch(
      GateSite site, Tensor x, Routing routing, Scope saved, Allocator arrived, Scope scratch);

  /**
   * Where the local experts add their weighted outputs up: (A, D). It may be {@code y} itself, when
   * all tokens stay here.
   *
   * @param y what {@link #combine} will be given
   */
  Tensor outputs(Dispatched dispatched, Tensor y, Scope scratch);

  /**
   * Sends the outputs back and adds them to y (T, D).
   *
   * @param outputs as {@link #outputs} gave it, (A, D); overwritten
   */
  void combine(GateSite site, Dispatched dispatched, Tensor y, Tensor outputs, Scope scratch);

  /**
   * Backward of {@link #combine}: sends dy (T, D) to the experts' ranks.
   *
   * @return gradient of the outputs, (A, D); it may be {@code dy} itself
   */
  Tensor combineBackward(GateSite site, Dispatched dispatched, Tensor dy, Scope scratch);

  /**
   * Where the local experts add the gradient of their tokens up: (A, D). It may be {@code dx}
   * itself, when all tokens stayed here.
   *
   * @param dx what {@link #dispatchBackward} will be given
   */
  Tensor tokenGradients(Dispatched dispatched, Tensor dx, Scope scratch);

  /**
   * Backward of {@link #dispatch}: sends gradients home.
   *
   * @param dx gradient of x, (T, D), added to
   * @param dWeights gradient of the routing weights, (T, K), written
   * @param dTokens gradient of the tokens as {@link #tokenGradients} gave it, (A, D); overwritten
   * @param dRowWeights gradient of the rows' weights, (R)
   */
  void dispatchBackward(
      GateSite site,
      Dispatched dispatched,
      Tensor dx,
      Tensor dWeights,
      Tensor dTokens,
      Tensor dRowWeights,
      Scope scratch);
}
