package io.sparkmoe.moe;

import io.sparkmoe.layer.ExpertRows;
import io.sparkmoe.tensor.Allocator;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * The dispatcher of one rank that owns every expert, in any element type: experts work on the
 * tokens in place. The oracle for dispatchers that send. Legend as in {@link TokenDispatcher}, E
 * experts.
 */
public final class DirectDispatcher implements TokenDispatcher {

  private final int numExperts;

  public DirectDispatcher(int numExperts) {
    this.numExperts = numExperts;
  }

  /**
   * @param slots t*K + k of each row
   */
  private record Local(Tensor tokens, ExpertRows rows, int[] slots) implements Dispatched {

    @Override
    public long droppedTokens() {
      return slots.length - rows.count();
    }
  }

  @Override
  public Dispatched dispatch(
      GateSite site, Tensor x, Routing routing, Scope saved, Allocator arrived, Scope scratch) {
    int[] ids = routing.ids().toIntArray();
    int topK = routing.ids().cols();
    int[] rowStarts = new int[numExperts + 1];
    int[] slots = new int[ids.length];
    Tensor tokens = saved.allocate(DType.I32, ids.length);
    Tensor rowWeights = saved.allocate(x.type(), ids.length);
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
    return new Local(x, new ExpertRows(rowStarts, tokens, rowWeights), slots);
  }

  @Override
  public Tensor outputs(Dispatched dispatched, Tensor y, Scope scratch) {
    return y;
  }

  @Override
  public void combine(
      GateSite site, Dispatched dispatched, Tensor y, Tensor outputs, Scope scratch) {}

  @Override
  public Tensor combineBackward(GateSite site, Dispatched dispatched, Tensor dy, Scope scratch) {
    return dy;
  }

  @Override
  public Tensor tokenGradients(Dispatched dispatched, Tensor dx, Scope scratch) {
    return dx;
  }

  @Override
  public void dispatchBackward(
      GateSite site,
      Dispatched dispatched,
      Tensor dx,
      Tensor dWeights,
      Tensor dTokens,
      Tensor dRowWeights,
      Scope scratch) {
    int[] slots = ((Local) dispatched).slots;
    for (int row = 0; row < slots.length; row++) {
      dWeights.set(slots[row], dRowWeights.get(row));
    }
  }
}
