package io.sparkmoe.infer;

import io.sparkmoe.infer.WeightLoader.Rows;
import io.sparkmoe.kernel.DecodeKernels;
import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.kernel.PanelMatrix;
import io.sparkmoe.model.ModelConfig;
import io.sparkmoe.model.Parameters;
import io.sparkmoe.tensor.Tensor;
import java.io.IOException;
import java.util.List;

/**
 * A multi-token prediction module without a backward: {@code layer(eh_proj [enorm(embedding) |
 * hnorm(previous)])}, see {@code model.MtpModule}. M rows, D model width.
 */
final class InferenceMtp {

  private final double eps;
  private final Kernels kernels;
  private final DecodeKernels decode;
  private final Tensor embedding;
  private final Tensor embeddingNorm;
  private final Tensor hiddenNorm;
  private final PanelMatrix join;
  private final InferenceLayer layer;
  private final Tensor headNorm;

  /**
   * @param depth from 1
   * @param embedding the main model's, (C, D)
   */
  InferenceMtp(
      int depth,
      ModelConfig model,
      Tensor embedding,
      double softmaxScale,
      WeightLoader loader,
      Kernels kernels,
      DecodeKernels decode)
      throws IOException {
    int number = model.numHiddenLayers() + depth - 1;
    String prefix = Parameters.layerPrefix(number);
    int d = model.hiddenSize();
    this.eps = model.rmsNormEps();
    this.kernels = kernels;
    this.decode = decode;
    this.embedding = embedding;
    this.embeddingNorm = loader.plain(prefix + "enorm.weight", d);
    this.hiddenNorm = loader.plain(prefix + "hnorm.weight", d);
    this.join = loader.matrix(2 * d, new Rows(prefix + "eh_proj.weight", d));
    this.layer = new InferenceLayer(number, model, softmaxScale, loader, kernels, decode);
    this.headNorm = loader.plain(prefix + "shared_head.norm.weight", d);
  }

  /**
   * Writes the module's hidden state to {@code w.x} and its norm before the head to {@code
   * w.normed}.
   *
   * @param previous hidden states of the depth below, (rows, D)
   * @param index the M rows of them to read; null = all
   */
  void forward(Workspace w, Tensor previous, int[] index, List<Append> appends) {
    Tensor read = previous;
    if (index != null) {
      for (int row = 0; row < index.length; row++) {
        w.mtp.index().setInt(row, index[row]);
      }
      kernels.gatherRows(w.mtp.previous(), previous, w.mtp.index());
      read = w.mtp.previous();
    }
    kernels.gatherRows(w.mtp.embedded(), embedding, w.tokens);
    kernels.rmsNorm(w.mtp.embeddedNormed(), w.inverseRms, w.mtp.embedded(), embeddingNorm, eps);
    kernels.rmsNorm(w.mtp.previousNormed(), w.inverseRms, read, hiddenNorm, eps);
    kernels.concatColumns(w.mtp.joined(), w.mtp.embeddedNormed(), w.mtp.previousNormed());
    decode.linear(w.x, w.mtp.joined(), join, false);
    layer.forward(w, appends);
    kernels.rmsNorm(w.normed, w.inverseRms, w.x, headNorm, eps);
  }
}
