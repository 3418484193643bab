package io.sparkmoe.infer;

import io.sparkmoe.infer.WeightLoader.Rows;
import io.sparkmoe.kernel.DecodeKernels;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.PanelMatrix;
import java.io.IOException;

/**
 * A gated feed-forward network that every token passes, of a dense layer or the shared experts:
 * {@code y += down(silu(gate x) * up x)}. F its width.
 */
final class GatedFfn {

  private final Kernels kernels;
  private final DecodeKernels decode;
  private final PanelMatrix gateUp;
  private final PanelMatrix down;

  /**
   * @param prefix of the weights' names, such as "model.layers.0.mlp"
   */
  GatedFfn(
      String prefix,
      int modelWidth,
      int width,
      WeightLoader loader,
      Kernels kernels,
      DecodeKernels decode)
      throws IOException {
    this.kernels = kernels;
    this.decode = decode;
    this.gateUp =
        loader.matrix(
            modelWidth,
            new Rows(prefix + ".gate_proj.weight", width),
            new Rows(prefix + ".up_proj.weight", width));
    this.down = loader.matrix(width, new Rows(prefix + ".down_proj.weight", modelWidth));
  }

  /** Adds the network's output for {@code w.normed} to {@code w.x}. */
  void forward(Workspace w, Workspace.Ffn own) {
    decode.linear(own.gateUp(), w.normed, gateUp, false);
    kernels.swiGlu(own.hidden(), own.gateUp(), null);
    decode.linear(w.x, own.hidden(), down, true);
  }
}
