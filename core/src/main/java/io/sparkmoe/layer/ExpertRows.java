package io.sparkmoe.layer;

import io.sparkmoe.kernel.Kernels;
import io.sparkmoe.tensor.Scope;
import io.sparkmoe.tensor.Tensor;

/**
 * The rows that local experts compute, one for each (token, expert) pair, ordered by local expert.
 * Legend: A tokens that arrived, R rows.
 *
 * @param starts rows of local expert e are [starts[e], starts[e+1])
 * @param token arrived token of each row, I32 (R), in [0, A)
 * @param weight routing weight of each row, (R)
 */
public record ExpertRows(int[] starts, Tensor token, Tensor weight) {

  /** R. */
  public int count() {
    return token.size();
  }

  /** Rows of one expert, as if there were no other. */
  ExpertRows of(int e) {
    return new ExpertRows(new int[] {0, starts[e + 1] - starts[e]}, of(token, e), of(weight, e));
  }

  /** One expert's rows of a tensor that has R of them, (R, ..). */
  Tensor of(Tensor tensor, int e) {
    int[] shape = tensor.shape();
    int size = tensor.size() / shape[0];
    shape[0] = starts[e + 1] - starts[e];
    return tensor.view(starts[e] * size, shape);
  }

  /** The token of each row, (R, D), of tokens (A, D). */
  Tensor gather(Kernels kernels, Tensor tokens, Scope scope) {
    Tensor gathered = scope.allocate(tokens.type(), count(), tokens.cols());
    kernels.gatherRows(gathered, tokens, token);
    return gathered;
  }

  /** {@link #gather} of operands, with as many rows as {@link PaddedOperand} has. */
  PaddedOperand gatherOperand(Kernels kernels, Tensor tokens, Scope scope) {
    PaddedOperand gathered = PaddedOperand.allocate(kernels, count(), tokens.cols(), scope);
    kernels.gatherRows(gathered.rows(), tokens, token);
    return gathered;
  }

  /** One expert's matrix of (E, O, I), as (1, O, I). */
  static Tensor matrix(Tensor weights, int e) {
    int[] shape = weights.shape();
    shape[0] = 1;
    return weights.view(e * shape[1] * shape[2], shape);
  }
}
