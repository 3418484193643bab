package io.sparkmoe.kernel;

import io.sparkmoe.tensor.Bfloat16Half;
import io.sparkmoe.tensor.DType;
import io.sparkmoe.tensor.Tensor;

/**
 * Every operation of the model on whole tensors. Two implementations: {@link ReferenceKernels},
 * plain loops that define the result and compute in double whatever the element type (F64 tensors
 * make gradient checks possible), and {@link VectorKernels}, the fast twin for F32. Results never
 * depend on the number of threads: work is cut by size alone and sums run in a fixed order.
 *
 * <p>Legend: T tokens, B sequences, S tokens of a sequence (T = B*S), D model width, F FFN width, E
 * experts, K experts of a token, H heads, N query/key channels without position, R with rotary
 * position, V value channels (of a head), C vocabulary. Order of parameters: outputs, inputs, saved
 * values, constants. {@code d}-prefixed names are gradients; a gradient output is added to unless
 * its line says "written". All tensors are dense and of one floating type unless a line says I32.
 * Kernels allocate no tensors.
 */
public interface Kernels {

  /**
   * Type of operands: tensors in which products read FP8 and BF16 values, exactly. BF16 where the
   * matrix library multiplies it faster than F32, F32 otherwise. All kernels that write operands
   * take both.
   */
  DType operandType();

  /**
   * Rows to give an operand of {@code rows} rows where rows of zeros can follow: products of so
   * many are one call of the matrix library.
   */
  int operandRows(int rows);

  // ---- matrix products: the two inputs are BF16 with an F32 result, or all three of one type

  /**
   * {@code c = op(a) op(b)}, or {@code c += ...} with {@code accumulate}.
   *
   * @param c (m, n)
   * @param a (m, k), or (k, m) with {@code transposeA}
   * @param b (k, n), or (n, k) with {@code transposeB}
   */
  void matmul(
      Tensor c, Tensor a, boolean transposeA, Tensor b, boolean transposeB, boolean accumulate);

  /** {@code y = x w^T}: x (T, in), w (out, in) as Hugging Face stores it, y (T, out) written. */
  default void linear(Tensor y, Tensor x, Tensor w) {
    matmul(y, x, false, w, true, false);
  }

  /**
   * One product per expert over its rows: {@code c[r] = a[r] op(b[e])} for r in [rowStarts[e],
   * rowStarts[e+1]).
   *
   * @param c (rows, n); written, or added to with {@code accumulate}
   * @param a (rows, k)
   * @param b (E, n, k) with {@code transposeB}, else (E, k, n)
   * @param rowStarts E + 1 ascending row numbers; experts may have no row
   */
  void groupedMatmul(
      Tensor c, Tensor a, Tensor b, boolean transposeB, int[] rowStarts, boolean accumulate);

  /**
   * {@code dw[e] = dy[rows of e]^T x[rows of e]}, or {@code +=} with {@code accumulate}: dw (E, n,
   * k), dy (rows, n), x (rows, k). Experts without rows are left as they are.
   */
  void groupedWeightGradient(Tensor dw, Tensor dy, Tensor x, int[] rowStarts, boolean accumulate);

  /** What is done with one group of rows. */
  @FunctionalInterface
  interface GroupBody {
    void run(int group);
  }

  /**
   * Runs {@code body} once for every group that has rows, such as one expert's, so that a group's
   * rows stay in one core's cache from its first kernel to its last. Groups run side by side, those
   * with most rows first, and the kernels that {@code body} calls then compute on its thread alone;
   * groups of more rows than a thread should be left alone with run before, one by one, on all
   * threads. The body must write only what is its group's.
   *
   * @param rowStarts rows of group g are [rowStarts[g], rowStarts[g+1])
   */
  void forEachGroup(int[] rowStarts, GroupBody body);

  /** {@link #forEachGroup} with one group after the other, in ascending order. */
  static void forEachGroupInTurn(int[] rowStarts, GroupBody body) {
    for (int g = 0; g + 1 < rowStarts.length; g++) {
      if (rowStarts[g] < rowStarts[g + 1]) {
        body.run(g);
      }
    }
  }

  // ---- element-wise

  /** {@code y += x}, any equal shapes. */
  void add(Tensor y, Tensor x);

  /** {@code y += a x}. */
  void addScaled(Tensor y, Tensor x, double a);

  /** Sum of squares of all elements, accumulated in double in a fixed order. */
  double sumOfSquares(Tensor x);

  /** First index of an element that is NaN or infinite, -1 when all are finite. */
  int firstNonFinite(Tensor x);

  /**
   * RMS norm over the last dimension: {@code y = x * inverseRms * weight}, {@code inverseRms =
   * 1/sqrt(mean(x^2) + eps)}.
   *
   * @param y (T, D) written
   * @param inverseRms (T) written, saved for the backward
   * @param x (T, D)
   * @param weight (D)
   */
  void rmsNorm(Tensor y, Tensor inverseRms, Tensor x, Tensor weight, double eps);

  /** Backward of {@link #rmsNorm}: adds to dx (T, D) and dWeight (D). */
  void rmsNormBackward(
      Tensor dx, Tensor dWeight, Tensor dy, Tensor x, Tensor inverseRms, Tensor weight);

  /**
   * {@code h = weight * silu(gate) * up} with gateUp = [gate | up] by columns.
   *
   * @param h (T, F) written
   * @param gateUp (T, 2F)
   * @param weight (T), null = one
   */
  void swiGlu(Tensor h, Tensor gateUp, Tensor weight);

  /**
   * Backward of {@link #swiGlu}, which computes its result again. May alias: {@code dGateUp} and
   * {@code gateUp}, {@code h} and {@code dh}.
   *
   * @param dGateUp (T, 2F) written
   * @param dWeight (T) written; null where weight is
   * @param h what the forward wrote, (T, F) written
   * @param dh (T, F)
   * @param gateUp (T, 2F)
   * @param weight (T), null = one
   */
  void swiGluBackward(
      Tensor dGateUp, Tensor dWeight, Tensor h, Tensor dh, Tensor gateUp, Tensor weight);

  // ---- rows

  /** {@code y[i] = x[index[i]]}: y (n, D) written, x (rows, D), index I32 (n); BF16 too. */
  void gatherRows(Tensor y, Tensor x, Tensor index);

  /**
   * {@code y[index[i]] += x[i]} in ascending i: y (rows, D), x (n, D), index I32 (n) with repeats.
   */
  void scatterAddRows(Tensor y, Tensor x, Tensor index);

  /**
   * {@code y[t] = sum_k weight[t,k] x[index[t,k]]} in ascending k: y (T, D) written, x (rows, D),
   * index I32 (T, K), weight (T, K).
   */
  void sumPickedRows(Tensor y, Tensor x, Tensor index, Tensor weight);

  /**
   * {@code y[index[t,k]] += weight[t,k] x[t]} in ascending t: y (rows, D), x (T, D), index I32 (T,
   * K), weight (T, K). The gradient of what {@link #sumPickedRows} picks from.
   */
  void addToPickedRows(Tensor y, Tensor x, Tensor index, Tensor weight);

  /** {@code y (T, D1+D2) = [a | b]} by columns, written. */
  void concatColumns(Tensor y, Tensor a, Tensor b);

  /**
   * Adds the columns of dy (T, D1+D2) to da (T, D1) and db (T, D2): backward of {@link
   * #concatColumns}.
   */
  void splitColumnsAdd(Tensor da, Tensor db, Tensor dy);

  // ---- attention

  /**
   * Queries by head, rotated: query (B, H, S, N+R) written from q (T, H*(N+R)), per head [N without
   * position | R rotary]. Rotary pairs are interleaved (2i, 2i+1): {@code (a, b) -> (a cos - b sin,
   * a sin + b cos)}.
   *
   * @param cos (S, R/2), row = position
   * @param sin (S, R/2)
   */
  void assembleQuery(Tensor query, Tensor q, Tensor cos, Tensor sin);

  /** Backward of {@link #assembleQuery}: dq (T, H*(N+R)) written. */
  void assembleQueryBackward(Tensor dq, Tensor dQuery, Tensor cos, Tensor sin);

  /**
   * Keys and values by head: key (B, H, S, N+R) and value (B, H, S, V) written from kv (T,
   * H*(N+V)), per head [N | V], and the one shared rotary key keyRope (T, R), rotated here and
   * repeated for every head.
   */
  void assembleKeyValue(
      Tensor key, Tensor value, Tensor kv, Tensor keyRope, Tensor cos, Tensor sin);

  /** Backward of {@link #assembleKeyValue}: dkv (T, H*(N+V)) and dKeyRope (T, R) are written. */
  void assembleKeyValueBackward(
      Tensor dkv, Tensor dKeyRope, Tensor dKey, Tensor dValue, Tensor cos, Tensor sin);

  /**
   * Causal attention: {@code out = softmax(scale * query key^T) value}.
   *
   * @param out (T, H*V) written
   * @param logSumExp (B, H, S) written: of the scaled scores of each query, saved for the backward
   * @param query (B, H, S, N+R)
   * @param key (B, H, S, N+R)
   * @param value (B, H, S, V)
   */
  void attention(
      Tensor out, Tensor logSumExp, Tensor query, Tensor key, Tensor value, double scale);

  /** Backward of {@link #attention}: dQuery, dKey and dValue are written; dOut (T, H*V). */
  void attentionBackward(
      Tensor dQuery,
      Tensor dKey,
      Tensor dValue,
      Tensor dOut,
      Tensor out,
      Tensor logSumExp,
      Tensor query,
      Tensor key,
      Tensor value,
      double scale);

  // ---- router

  /** {@code y = 1/(1+exp(-x))}, written. */
  void sigmoid(Tensor y, Tensor x);

  /**
   * Node-limited top-K (DeepSeek-V3 section 2.1.2): a group's score is the sum of its two largest
   * {@code score + bias}; the best {@code topGroups} groups stay, all others count as -inf; the K
   * largest of what stays are chosen. The lowest index wins every tie.
   *
   * @param ids I32 (T, K) written, ascending within a token
   * @param scores (T, E)
   * @param bias (E), or null: then a group's score is its largest score
   */
  void selectExperts(Tensor ids, Tensor scores, Tensor bias, int numGroups, int topGroups);

  /**
   * Weights of the chosen experts: {@code w = score[id]}, divided by {@code sum + 1e-20} when
   * {@code normalise}, times {@code scale}. weights (T, K) written.
   */
  void routingWeights(Tensor weights, Tensor scores, Tensor ids, boolean normalise, double scale);

  /** Backward of {@link #routingWeights}: adds to dScores (T, E). */
  void routingWeightsBackward(
      Tensor dScores, Tensor dWeights, Tensor scores, Tensor ids, boolean normalise, double scale);

  /**
   * Backward of {@link #routingWeights} and {@link #sigmoid} for the chosen experts, which alone
   * have a gradient where there is no balance loss: dLogits (T, K) written.
   */
  void chosenLogitsBackward(
      Tensor dLogits, Tensor dWeights, Tensor scores, Tensor ids, boolean normalise, double scale);

  /** {@code dLogits = dScores * s * (1 - s)} with s = scores; written, may alias dScores. */
  void sigmoidBackward(Tensor dLogits, Tensor dScores, Tensor scores);

  /**
   * Sequence-wise balance loss (eq. 17-20): with s' = s / sum(s), {@code f[i] = E/(K n) * count(i
   * in top-K of s)}, {@code P[i] = mean(s'[i])} over the n valid tokens of a sequence, the loss of
   * a sequence is {@code sum_i f[i] P[i]}.
   *
   * @param frequency (B, E), f of every sequence, written
   * @param scores (T, E)
   * @param valid I32 (B): valid tokens at the start of each sequence; a sequence with none counts
   *     zero
   * @return the sum over sequences
   */
  double balanceLoss(Tensor frequency, Tensor scores, Tensor valid, int topK);

  /**
   * Backward of {@link #balanceLoss}, through P alone: adds {@code gradientScale *
   * d(loss)/d(scores)} to dScores (T, E).
   *
   * @param frequency (B, E), as the forward wrote it
   */
  void balanceLossBackward(
      Tensor dScores, Tensor scores, Tensor frequency, Tensor valid, double gradientScale);

  // ---- loss and optimizer

  /**
   * Softmax cross-entropy of a block of rows, and its gradient in place: with {@code gradientScale
   * != 0} logits become {@code gradientScale * (softmax - onehot)}, zero in ignored rows.
   *
   * @param losses (rows) written: -log p(target), zero for ignored rows
   * @param logits (rows, C), overwritten unless gradientScale is zero
   * @param targets I32 (rows), -1 = ignored
   */
  void crossEntropy(Tensor losses, Tensor logits, Tensor targets, double gradientScale);

  /**
   * {@link #crossEntropy} whose gradient, rounded to BF16, goes to a tensor of its own.
   *
   * @param losses (rows) written
   * @param dLogits operand (rows, C), written
   * @param logits (rows, C), overwritten
   * @param targets I32 (rows), -1 = ignored
   * @param gradientScale not zero
   */
  void crossEntropyBfloat16(
      Tensor losses, Tensor dLogits, Tensor logits, Tensor targets, double gradientScale);

  /**
   * {@link DistillationLoss} of a block of rows, and its gradient in place as in {@link
   * #crossEntropy}; a row without a teacher is plain cross-entropy.
   *
   * @param losses (rows) written, zero for ignored rows
   * @param logits (rows, C), overwritten unless gradientScale is zero
   * @param targets I32 (rows), -1 = ignored
   * @param teacher of the same rows
   */
  void distillation(
      Tensor losses,
      Tensor logits,
      Tensor targets,
      TeacherTargets teacher,
      DistillationLoss loss,
      double gradientScale);

  /**
   * What a teacher's logits say about each row, in log-probabilities of the full softmax: the K
   * most probable of the first {@code numTokens}, most probable first (the lowest id among equals),
   * the mass of all others, and the given token.
   *
   * @param ranked written; K at most numTokens
   * @param given (rows) written: log-probability of the target, zero for ignored rows
   * @param logits (rows, C), unchanged
   * @param targets I32 (rows), -1 = ignored
   * @param numTokens at most C; the logits after them belong to no token
   */
  void rankTokens(
      TeacherTargets ranked, Tensor given, Tensor logits, Tensor targets, int numTokens);

  /**
   * AdamW (Loshchilov and Hutter, decoupled decay): {@code g = gradientScale * gradient; m = b1 m +
   * (1-b1) g; v = b2 v + (1-b2) g^2; w = w (1 - lr*decay) - lr * (m/c1) / (sqrt(v/c2) + eps)} with
   * c1 = 1 - b1^t, c2 = 1 - b2^t, as PyTorch. The gradient is set to zero where the step says so.
   * The fast twin rounds moments to multiples of 2^-103.
   */
  void adamW(
      Tensor weight, Tensor firstMoment, Tensor secondMoment, Tensor gradient, AdamWStep step);

  /**
   * {@link #adamW} with moments in BF16: they are widened, used as they come out of the formula,
   * and rounded to nearest even when stored. The gradient must be finite.
   *
   * @param moments I32, the elements' {@link Bfloat16Half lower half} the first moment and their
   *     upper half the second
   */
  void adamWBfloat16(Tensor weight, Tensor moments, Tensor gradient, AdamWStep step);

  /**
   * Constants of one AdamW step; {@code correction1} = 1 - beta1^t, {@code correction2} = 1 -
   * beta2^t.
   *
   * @param clearsGradient whether the gradient is zero afterwards, or left as it is
   */
  record AdamWStep(
      double learningRate,
      double beta1,
      double beta2,
      double eps,
      double weightDecay,
      double correction1,
      double correction2,
      double gradientScale,
      boolean clearsGradient) {}

  // ---- FP8

  /**
   * Rounds to FP8: in every tile {@code scale = the least power of two >= max|x| / largest value of
   * the format}, {@code code = round(x / scale)} to nearest even, {@code operand = code * scale}.
   * Tiles start anew at every group of rows, at every matrix of a tensor of more than two
   * dimensions, and are smaller at its edges.
   *
   * <p>No magnitude is too small: there is no lower clamp such as the 1e-4 of DeepSeek-V3's
   * activation kernel, which exists to divide safely, costs precision and would erase gradients. A
   * tile of zeros has scale 1. Scales are taken over finite values; what is not finite becomes NaN,
   * so that a diverged value is still seen. The operand is exact: a code's 4 bits fit BF16's 8
   * (below 2^-126 a BF16 operand is rounded to its subnormal numbers).
   *
   * @param operand BF16 or F32 (R, N) written: what matrix products read; null where only codes are
   *     wanted
   * @param kept (R, N) written: the same values as codes and scales, of the scaling's format; null
   *     where only the operand is wanted. Not with {@link Fp8Granularity#TILE_128X1}
   * @param x F32 or BF16 (R, N); (E, R, N) is E matrices
   * @param rowStarts G + 1 ascending row numbers of G groups, whose tiles have no row in common and
   *     outside of which nothing is written; null = one group of all rows
   * @param statistics added to; null = nothing is counted, which is faster
   */
  void quantize(
      Tensor operand,
      Fp8Tensor kept,
      Tensor x,
      int[] rowStarts,
      Fp8Scaling scaling,
      Fp8Statistics statistics);

  /** {@link #quantize} of what {@code x} (R, N) stands for, written to operand (R, N). */
  void requantize(
      Tensor operand, Fp8Tensor x, int[] rowStarts, Fp8Scaling scaling, Fp8Statistics statistics);

  /** {@code values = code * scale}: values BF16 or F32 (R, N) written. */
  void dequantize(Tensor values, Fp8Tensor x);

  /**
   * {@link #swiGlu} between two products in FP8, in E4M3 tiles of 1x128: the products before it are
   * kept and its result is rounded.
   *
   * @param hidden operand (R, F) written: {@code weight * silu(gate) * up}
   * @param kept (2R, F) written: every row of gateUp as two, its gate and its up
   * @param gateUp (R, 2F)
   * @param weight (R), null = one
   */
  void gatedFp8(Tensor hidden, Fp8Tensor kept, Tensor gateUp, Tensor weight);

  /**
   * Backward of {@link #gatedFp8}, from what that kept: the gradient of gateUp, rounded either way,
   * and the activation once more, rounded for the weight gradient, all in E4M3.
   *
   * @param dGateUp operand (R, 2F) written, in tiles of 1x128 of gate and of up
   * @param dGateUpTransposed operand (R, 2F) written, in tiles of 128x1 within groups
   * @param hiddenTransposed operand (R, F) written, likewise
   * @param dWeight (R) written; null where weight is
   * @param dHidden gradient of {@code weight * silu(gate) * up}, (R, F)
   * @param kept (2R, F)
   * @param weight (R), null = one
   * @param rowStarts G + 1 ascending row numbers of G groups, which hold all rows
   */
  void gatedFp8Backward(
      Tensor dGateUp,
      Tensor dGateUpTransposed,
      Tensor hiddenTransposed,
      Tensor dWeight,
      Tensor dHidden,
      Fp8Tensor kept,
      Tensor weight,
      int[] rowStarts);

  // ---- conversions

  /**
   * F32 to the nearest BF16 values, ties to even, in a BF16 tensor or an F32 one, which may be
   * {@code f32} itself.
   */
  void toBfloat16(Tensor rounded, Tensor f32);

  /** BF16 to F32. */
  void fromBfloat16(Tensor f32, Tensor bf16);
}
