package io.sparkmoe.infer;

import io.sparkmoe.infer.WeightLoader.Rows;
import io.sparkmoe.kernel.DecodeKernels;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.PanelMatrix;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;

/**
 * Gate and experts of one layer, all in this process: {@code y += sum_k weight_k expert_k(x)}. Only
 * chosen experts' weights are read; tokens that chose the same expert share the reading.
 *
 * <p>Legend: M rows, D model width, E experts, K experts of a token, F expert width.
 */
final class RoutedExperts {

  private final ModelConfig model;
  private final Kernels kernels;
  private final DecodeKernels decode;

  /** (E, D). */
  private final PanelMatrix gate;

  /** (E). */
  private final Tensor selectionBias;

  /** E matrices (2F, D). */
  private final PanelMatrix gateUp;

  /** E matrices (D, F). */
  private final PanelMatrix down;

  RoutedExperts(
      int layer, ModelConfig model, WeightLoader loader, Kernels kernels, DecodeKernels decode)
      throws IOException {
    int d = model.hiddenSize();
    int f = model.moeIntermediateSize();
    int numExperts = model.numRoutedExperts();
    this.model = model;
    this.kernels = kernels;
    this.decode = decode;
    this.gate = loader.gate(d, new Rows(Parameters.gateWeightName(layer), numExperts));
    this.selectionBias = loader.plain(Parameters.selectionBiasName(layer), numExperts);
    this.gateUp = loader.allocate(numExperts, 2 * f, d);
    this.down = loader.allocate(numExperts, d, f);
    for (int expert = 0; expert < numExperts; expert++) {
      String prefix = Parameters.layerPrefix(layer) + "mlp.experts." + expert;
      loader.pack(
          gateUp,
          expert,
          new Rows(prefix + ".gate_proj.weight", f),
          new Rows(prefix + ".up_proj.weight", f));
      loader.pack(down, expert, new Rows(prefix + ".down_proj.weight", d));
    }
  }

  /** Adds the experts' output for {@code w.normed} to {@code w.x}; returns the bytes read. */
  long forward(Workspace w, Workspace.Routed own) {
    decode.linear(own.scores(), w.normed, gate, false);
    kernels.sigmoid(own.scores(), own.scores());
    kernels.selectExperts(
        own.ids(), own.scores(), selectionBias, model.numGroups(), model.topGroups());
    kernels.routingWeights(
        own.weights(), own.scores(), own.ids(), model.normTopkProb(), model.routedScalingFactor());
    int[] rowStarts = group(own);
    decode.grouped(own.gateUp(), w.normed, own.rowTokens(), gateUp, rowStarts);
    kernels.swiGlu(own.hidden(), own.gateUp(), own.rowWeights());
    decode.grouped(own.output(), own.hidden(), null, down, rowStarts);
    kernels.scatterAddRows(w.x, own.output(), own.rowTokens());
    return numUsed(rowStarts) * (gateUp.bytesOfOne() + down.bytesOfOne());
  }

  private static long numUsed(int[] rowStarts) {
    long used = 0;
    for (int e = 1; e < rowStarts.length; e++) {
      used += rowStarts[e] > rowStarts[e - 1] ? 1 : 0;
    }
    return used;
  }

  /**
   * Orders the choices by expert, and by token within an expert; returns where each expert's rows
   * start.
   */
  private int[] group(Workspace.Routed own) {
    int topK = own.ids().cols();
    int choices = own.ids().size();
    int[] rowStarts = new int[model.numRoutedExperts() + 1];
    for (int i = 0; i < choices; i++) {
      rowStarts[own.ids().getInt(i) + 1]++;
    }
    for (int e = 0; e < model.numRoutedExperts(); e++) {
      rowStarts[e + 1] += rowStarts[e];
    }
    int[] next = rowStarts.clone();
    for (int i = 0; i < choices; i++) {
      int row = next[own.ids().getInt(i)]++;
      own.rowTokens().setInt(row, i / topK);
      own.rowWeights().setFloat(row, own.weights().getFloat(i));
    }
    return rowStarts;
  }
}
