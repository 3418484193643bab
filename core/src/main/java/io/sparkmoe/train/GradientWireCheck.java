package io.sparkmoe.train;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.parallel.Communicator;
import io.sparkmoe.parallel.GradientReducer;
import io.sparkmoe.parallel.Wire;
import io.sparkmoe.tensor.Arena;
import io.sparkmoe.tensor.Tensor;
import io.sparkmoe.train.protocol.WireQuality;
import java.util.ArrayList;
import java.util.List;

/**
 * Compares what a lossy wire made of the reduced gradients with their FP32 sum, which it computes
 * beside it: twice the gradients' memory and an FP32 reduction, so for a look now and then.
 */
final class GradientWireCheck implements AutoCloseable {

  /** Any number but that of the run's own reducer. */
  private static final int CHANNEL = 1;

  private final Kernels kernels;
  private final List<Tensor> gradients;
  private final List<Tensor> exact = new ArrayList<>();
  private final List<Tensor> errorSum = new ArrayList<>();
  private final GradientReducer reducer;
  private double singleErrors;

  /**
   * @param gradients what the run's reducer reduces in place
   */
  GradientWireCheck(
      Communicator communicator, List<Tensor> gradients, Kernels kernels, Arena arena) {
    this.kernels = kernels;
    this.gradients = gradients;
    for (Tensor gradient : gradients) {
      exact.add(arena.allocate(gradient.type(), gradient.shape()));
      errorSum.add(arena.zeros(gradient.type(), gradient.shape()));
    }
    this.reducer =
        GradientReducer.onChannel(CHANNEL, communicator, Wire.FP32, exact, kernels, arena);
  }

  /** Before the run's reduction: sums copies in FP32. */
  void before(int step) {
    for (int i = 0; i < exact.size(); i++) {
      exact.get(i).copyFrom(gradients.get(i));
    }
    reducer.reduce(step);
  }

  /** After the run's reduction: what its result is worth. */
  WireQuality after() {
    double exactSquares = 0;
    double lossySquares = 0;
    double errorSquares = 0;
    double sumSquares = 0;
    for (int i = 0; i < exact.size(); i++) {
      Tensor error = exact.get(i);
      exactSquares += kernels.sumOfSquares(error);
      lossySquares += kernels.sumOfSquares(gradients.get(i));
      kernels.addScaled(error, gradients.get(i), -1);
      errorSquares += kernels.sumOfSquares(error);
      kernels.add(errorSum.get(i), error);
      sumSquares += kernels.sumOfSquares(errorSum.get(i));
    }
    singleErrors += Math.sqrt(errorSquares);
    // |a - b|^2 = |a|^2 + |b|^2 - 2 a b
    double dot = (exactSquares + lossySquares - errorSquares) / 2;
    return new WireQuality(
        dot / Math.sqrt(exactSquares * lossySquares),
        Math.sqrt(errorSquares / exactSquares),
        Math.sqrt(sumSquares) / singleErrors);
  }

  @Override
  public void close() {
    reducer.close();
    exact.forEach(Tensor::close);
    errorSum.forEach(Tensor::close);
  }
}
