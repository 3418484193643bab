package io.sparkmoe.moe;

import io.sparkmoe.layer.Experts;
import io.sparkmoe.layer.FeedForward;
import io.sparkmoe.layer.Layers;
import io.sparkmoe.layer.ProjectionInput;
import io.sparkmoe.parallel.Phase;
import io.sparkmoe.parallel.PhaseClock;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * The FFN of a MoE layer: {@code y += sum_k weight_k * expert_k(x) + shared(x)}. The shared experts
 * are computed while the gate decides, in both directions, so a distant gate's round trip is hidden
 * behind them.
 *
 * <p>Legend: T tokens of this rank, B sequences, D model width, R rows of the local experts, K
 * experts of a token.
 */
public final class MixtureOfExperts {

  private final Gate gate;
  private final TokenDispatcher dispatcher;
  private final Layers layers;
  private final Experts experts;
  private final FeedForward shared;
  private final PhaseClock clock;

  /**
   * What the backward needs.
   *
   * @param shared null without shared experts
   */
  public record Saved(
      GateSite site,
      Routing routing,
      TokenDispatcher.Dispatched dispatched,
      Experts.Saved experts,
      FeedForward.Saved shared) {}

  /**
   * @param layers what experts and shared were made by
   * @param experts the routed experts of this rank
   * @param shared the shared experts, or null
   * @param clock learns what the time went to
   */
  public MixtureOfExperts(
      Gate gate,
      TokenDispatcher dispatcher,
      Layers layers,
      Experts experts,
      FeedForward shared,
      PhaseClock clock) {
    this.gate = gate;
    this.dispatcher = dispatcher;
    this.layers = layers;
    this.experts = experts;
    this.shared = shared;
    this.clock = clock;
  }

  /**
   * Adds the layer's output to y.
   *
   * @param y (T, D)
   * @param x (T, D) from {@link Layers#inputAllocator}
   * @param valid I32 (B), tokens before the padding of each sequence
   * @param known the gate's answer where the layer is computed again and keeps it, else null
   * @param scope owns what is saved
   * @param scratch where x lives if it is not saved
   */
  public Saved forward(
      GateSite site, Tensor y, Tensor x, Tensor valid, Routing known, Scope scope, Scope scratch) {
    Phase before = clock.enter(Phase.GATE);
    Gate.Pending<Routing> decision =
        known == null ? gate.route(site, x, valid, scope) : () -> known;
    clock.enter(Phase.SHARED_EXPERT);
    ProjectionInput input = layers.input(x, scope, scratch);
    FeedForward.Saved sharedSaved = shared == null ? null : shared.forward(y, input, scope);
    clock.enter(Phase.GATE_WAIT);
    Routing routing = decision.await();
    clock.enter(Phase.EXCHANGE);
    TokenDispatcher.Dispatched dispatched =
        dispatcher.dispatch(
            site, x, routing, scope, layers.inputAllocator(scope, scratch), scratch);
    Tensor outputs = dispatcher.outputs(dispatched, y, scratch);
    clock.enter(Phase.EXPERTS);
    Tensor tokens = dispatched.tokens();
    ProjectionInput arrived = tokens == x ? input : layers.input(tokens, scope, scratch);
    Experts.Saved expertsSaved = experts.forward(outputs, arrived, dispatched.rows(), scope);
    clock.enter(Phase.EXCHANGE);
    dispatcher.combine(site, dispatched, y, outputs, scratch);
    clock.enter(before);
    return new Saved(site, routing, dispatched, expertsSaved, sharedSaved);
  }

  /**
   * Backward of {@link #forward}: adds to dx (T, D) and to the weight gradients.
   *
   * @param dy gradient of y, (T, D)
   * @param balanceGradientScale factor of a sequence's balance loss in the total loss
   */
  public void backward(
      Tensor dx, Tensor dy, Saved saved, double balanceGradientScale, Scope scope) {
    GateSite site = saved.site;
    Phase before = clock.enter(Phase.EXCHANGE);
    try (Scope scratch = scope.inner()) {
      Tensor dWeights = scratch.allocate(dx.type(), saved.routing.weights().shape());
      try (Scope exchange = scratch.inner()) {
        Tensor dOutputs = dispatcher.combineBackward(site, saved.dispatched, dy, exchange);
        Tensor dTokens = dispatcher.tokenGradients(saved.dispatched, dx, exchange);
        Tensor dRowWeights = exchange.allocate(dx.type(), saved.dispatched.rows().count());
        clock.enter(Phase.EXPERTS);
        experts.backward(dTokens, dRowWeights, dOutputs, saved.experts, exchange);
        clock.enter(Phase.EXCHANGE);
        dispatcher.dispatchBackward(
            site, saved.dispatched, dx, dWeights, dTokens, dRowWeights, exchange);
      }
      clock.enter(Phase.GATE);
      Gate.Pending<Void> gateShare = gate.backward(site, dx, dWeights, balanceGradientScale);
      if (shared != null) {
        clock.enter(Phase.SHARED_EXPERT);
        shared.backward(dx, dy, saved.shared, scratch);
      }
      clock.enter(Phase.GATE_WAIT);
      gateShare.await();
    }
    clock.enter(before);
  }
}
