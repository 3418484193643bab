package io.sparkmoe.model;

import io.sparkmoe.moe.Gate;
import io.sparkmoe.moe.Routing;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * The decoder layers of the main model in training, one after the other, and what is kept of them
 * until the backward: everything, or with {@link Recompute#LAYER} their inputs.
 *
 * <p>A layer that is computed again asks its gate again, unless the gate is far away and keeps what
 * its own backward needs: then its answer is kept here. Either way a gate counts the load of a pass
 * once.
 *
 * <p>Legend: T tokens, D model width.
 */
final class DecoderStack {

  private final List<DecoderLayer> layers;
  private final boolean asksOnce;
  private final boolean recomputes;

  DecoderStack(List<DecoderLayer> layers, Gate gate, Recompute recompute) {
    this.layers = layers;
    this.asksOnce = gate.keepsElsewhere();
    this.recomputes = recompute == Recompute.LAYER;
  }

  /**
   * A pass under way.
   *
   * @param inputs of each layer, then the last one's output, (T, D)
   * @param saved by layer; empty when layers are computed again
   * @param scopes of what is saved
   * @param routings by layer, null where a gate is asked again
   */
  record Run(
      Pass pass,
      Sequences sequences,
      List<Tensor> inputs,
      List<DecoderLayer.Saved> saved,
      List<Scope> scopes,
      List<Routing> routings) {

    Tensor output() {
      return inputs.get(inputs.size() - 1);
    }
  }

  /**
   * @param x input of the first layer, (T, D)
   * @param losses learns of every layer's
   * @param scope owns inputs and outputs
   * @param layerScopes own what the backward needs
   */
  Run forward(
      Tensor x,
      Sequences sequences,
      Pass pass,
      LossCollector losses,
      Scope scope,
      LayerScopes layerScopes) {
    Run run =
        new Run(
            pass,
            sequences,
            new ArrayList<>(List.of(x)),
            new ArrayList<>(),
            new ArrayList<>(),
            new ArrayList<>());
    for (DecoderLayer layer : layers) {
      Tensor input = run.output();
      Tensor output = scope.allocate(x.type(), x.shape());
      run.inputs.add(output);
      if (recomputes) {
        forwardOnce(run, layer, output, input, losses, scope);
      } else {
        Scope own = layerScopes.open();
        DecoderLayer.Saved saved = layer.forward(output, input, sequences, pass, null, own);
        losses.add(saved);
        run.saved.add(saved);
        run.scopes.add(own);
      }
    }
    return run;
  }

  private void forwardOnce(
      Run run, DecoderLayer layer, Tensor output, Tensor input, LossCollector losses, Scope kept) {
    Pass first = asksOnce ? run.pass : run.pass.withoutBackward();
    try (Scope own = kept.inner()) {
      DecoderLayer.Saved saved = layer.forward(output, input, run.sequences, first, null, own);
      losses.add(saved);
      boolean keeps = asksOnce && saved.experts() != null;
      run.routings.add(keeps ? saved.experts().routing().copy(kept) : null);
    }
  }

  /**
   * Backward of {@link #forward}.
   *
   * @param d gradient of the output on entry, of the input on return, (T, D)
   * @param balanceGradientScale factor of a sequence's balance loss in the total loss
   */
  void backward(Tensor d, Run run, double balanceGradientScale, Arena arena) {
    for (int i = layers.size() - 1; i >= 0; i--) {
      DecoderLayer layer = layers.get(i);
      if (recomputes) {
        try (Scope own = arena.scope()) {
          // The output is written once more, with the same bits; nobody reads it any more.
          DecoderLayer.Saved saved =
              layer.forward(
                  run.inputs.get(i + 1),
                  run.inputs.get(i),
                  run.sequences,
                  run.pass,
                  run.routings.get(i),
                  own);
          layer.backward(d, saved, run.sequences, balanceGradientScale, own);
        }
      } else {
        Scope own = run.scopes.get(i);
        layer.backward(d, run.saved.get(i), run.sequences, balanceGradientScale, own);
        own.close();
      }
    }
  }
}
