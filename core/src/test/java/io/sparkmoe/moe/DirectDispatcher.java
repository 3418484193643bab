package io.sparkmoe.moe;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * The dispatcher of one rank that owns every expert, in any element type: rows are gathered and
 * scattered in place. The oracle for dispatchers that send. Legend as in {@link TokenDispatcher}, E
 * experts.
 */
public final class DirectDispatcher implements TokenDispatcher {

  private final int numExperts;
  private final Kernels kernels;

  public DirectDispatcher(int numExperts, Kernels kernels) {
    this.numExperts = numExperts;
    this.kernels = kernels;
  }

  /**
   * @param tokens I32 (R), the token of each row
   * @param slots t*K + k of each row
   * @param rowWeights (R)
   * @param rowWeightGradients (R), written by combineBackward
   */
  private record Rows(
      Tensor input,
      int[] rowStarts,
      Tensor tokens,
      int[] slots,
      Tensor rowWeights,
      Tensor rowWeightGradients)
      implements Dispatched {

    @Override
    public long droppedTokens() {
      return slots.length - input.rows();
    }
  }

  @Override
  public Dispatched dispatch(GateSite site, Tensor x, Routing routing, Scope scope) {
    int[] ids = routing.ids().toIntArray();
    int topK = routing.ids().cols();
    int[] rowStarts = new int[numExperts + 1];
    int[] slots = new int[ids.length];
    Tensor tokens = scope.allocate(DType.I32, ids.length);
    Tensor rowWeights = scope.allocate(x.type(), ids.length);
    int row = 0;
    for (int expert = 0; expert < numExperts; expert++) {
      for (int slot = 0; slot < ids.length; slot++) {
        if (ids[slot] == expert) {
          slots[row] = slot;
          tokens.setInt(row, slot / topK);
          rowWeights.set(row, routing.weights().get(slot));
          row++;
        }
      }
      rowStarts[expert + 1] = row;
    }
    Tensor input = scope.allocate(x.type(), ids.length, x.cols());
    kernels.gatherRows(input, x, tokens);
    return new Rows(
        input, rowStarts, tokens, slots, rowWeights, scope.allocate(x.type(), ids.length));
  }

  @Override
  public void combine(GateSite site, Dispatched dispatched, Tensor y, Tensor output, Scope scope) {
    Rows rows = (Rows) dispatched;
    kernels.scatterAddScaledRows(y, output, rows.tokens, rows.rowWeights);
  }

  @Override
  public Tensor combineBackward(
      GateSite site, Dispatched dispatched, Tensor dy, Tensor output, Scope scope) {
    Rows rows = (Rows) dispatched;
    Tensor dOutput = scope.allocate(output.type(), output.shape());
    kernels.gatherScaledRows(dOutput, dy, rows.tokens, rows.rowWeights);
    kernels.gatherDot(rows.rowWeightGradients, output, dy, rows.tokens);
    return dOutput;
  }

  @Override
  public void dispatchBackward(
      GateSite site,
      Dispatched dispatched,
      Tensor dx,
      Tensor dWeights,
      Tensor dInput,
      Scope scope) {
    Rows rows = (Rows) dispatched;
    kernels.scatterAddRows(dx, dInput, rows.tokens);
    for (int row = 0; row < rows.slots.length; row++) {
      dWeights.set(rows.slots[row], rows.rowWeightGradients.get(row));
    }
  }
}
