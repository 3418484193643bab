package io.sparkmoe.moe;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * Gating network of one layer (DeepSeek-V3 technical report, section 2.1.2): {@code s = sigmoid(x
 * W^T)}; the experts with the largest {@code s + bias} within the best groups are chosen; their
 * weights come from the unbiased s. All of it runs in the element type of the weights, FP32 in
 * training.
 *
 * <p>Legend: T tokens, B sequences, D model width, E experts, K experts of a token.
 */
final class Router {

  private final RouterConfig config;
  private final GateWeights weights;
  private final Kernels kernels;

  /**
   * What the backward needs.
   *
   * @param x input, (T, D)
   * @param scores s, (T, E)
   * @param frequency f, how often each sequence prefers each expert over even shares, (B, E); null
   *     without a balance loss
   * @param valid I32 (B), tokens before the padding of each sequence
   * @param routing the decision
   */
  record Saved(Tensor x, Tensor scores, Tensor frequency, Tensor valid, Routing routing) {}

  Router(RouterConfig config, GateWeights weights, Kernels kernels) {
    this.config = config;
    this.weights = weights;
    this.kernels = kernels;
  }

  int numExperts() {
    return weights.weight().dim(0);
  }

  /** Routes x (T, D). Saves the scores, from which every gradient of the gate follows. */
  Saved forward(Tensor x, Tensor valid, Scope scope) {
    int numTokens = x.rows();
    DType type = weights.weight().type();
    Tensor scores = scope.allocate(type, numTokens, numExperts());
    Tensor ids = scope.allocate(DType.I32, numTokens, config.topK());
    Tensor chosen = scope.allocate(type, numTokens, config.topK());
    kernels.linear(scores, x, weights.weight());
    kernels.sigmoid(scores, scores);
    kernels.selectExperts(ids, scores, weights.bias(), config.numGroups(), config.topGroups());
    kernels.routingWeights(chosen, scores, ids, config.normalise(), config.scale());
    Tensor frequency = null;
    double balanceLoss = 0;
    if (config.balanceLoss()) {
      frequency = scope.allocate(type, valid.size(), numExperts());
      balanceLoss = kernels.balanceLoss(frequency, scores, valid, config.topK());
    }
    return new Saved(x, scores, frequency, valid, new Routing(ids, chosen, balanceLoss));
  }

  /**
   * Backward of {@link #forward}: adds to the weight gradient.
   *
   * @param dx gradient of x, (T, D), written
   * @param dWeights gradient of the routing weights, (T, K)
   * @param balanceGradientScale factor of a sequence's balance loss in the total loss, zero where
   *     there is none
   */
  void backward(Tensor dx, Tensor dWeights, Saved saved, double balanceGradientScale, Scope scope) {
    if (balanceGradientScale != 0 && !config.balanceLoss()) {
      throw new IllegalArgumentException(
          "this router computes no balance loss, so its gradient's scale must be 0, got "
              + balanceGradientScale);
    }
    if (balanceGradientScale == 0) {
      backwardOfChosen(dx, dWeights, saved, scope);
    } else {
      backwardOfAll(dx, dWeights, saved, balanceGradientScale, scope);
    }
  }

  /** Without a balance loss only the chosen experts have a gradient: K rows a token, not E. */
  private void backwardOfChosen(Tensor dx, Tensor dWeights, Saved saved, Scope scope) {
    try (Scope scratch = scope.inner()) {
      Tensor ids = saved.routing.ids();
      Tensor dLogits = scratch.allocate(dWeights.type(), ids.shape());
      kernels.chosenLogitsBackward(
          dLogits, dWeights, saved.scores, ids, config.normalise(), config.scale());
      // forward: logits = x w^T; so dw += dlogits^T x and dx = dlogits w
      kernels.addToPickedRows(weights.dWeight(), saved.x, ids, dLogits);
      kernels.sumPickedRows(dx, weights.weight(), ids, dLogits);
    }
  }

  private void backwardOfAll(
      Tensor dx, Tensor dWeights, Saved saved, double balanceGradientScale, Scope scope) {
    try (Scope scratch = scope.inner()) {
      Tensor scores = saved.scores;
      Tensor dScores = scratch.zeros(scores.type(), scores.shape());
      kernels.balanceLossBackward(
          dScores, scores, saved.frequency, saved.valid, balanceGradientScale);
      kernels.routingWeightsBackward(
          dScores, dWeights, scores, saved.routing.ids(), config.normalise(), config.scale());
      kernels.sigmoidBackward(dScores, dScores, scores);
      // forward: logits = x w^T; so dw += dlogits^T x and dx = dlogits w
      kernels.matmul(weights.dWeight(), dScores, true, saved.x, false, true);
      kernels.matmul(dx, dScores, false, weights.weight(), false, false);
    }
  }
}
